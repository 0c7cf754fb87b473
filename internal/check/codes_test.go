package check_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCodes: every code of the source has a row in docs/check.md and a
// configuration that has the finding, and there are no other rows.
func TestCodes(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
	source := codes(t, files, regexp.MustCompile(`"(SEK\d+)"`))
	docs := codes(t, []string{"../../docs/check.md"}, regexp.MustCompile(`(?m)^\| (SEK\d+) \|`))
	tests := codes(t, []string{"check_test.go"}, regexp.MustCompile(`"(SEK\d+)`))
	if !slices.Equal(source, docs) || !slices.Equal(source, tests) {
		t.Errorf("the code has   %v\ndocs/check.md %v\nthe tests     %v", source, docs, tests)
	}
}

// codes are the codes that re finds in the files, each once, in order.
func codes(t *testing.T, files []string, re *regexp.Regexp) []string {
	t.Helper()
	var out []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range re.FindAllStringSubmatch(string(text), -1) {
			out = append(out, m[1])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
