package explain

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/cockroachdb/datadriven"

	"sekisho/internal/clock"
)

// TestExplain runs command lines; "-update" of datadriven rewrites what they
// print.
func TestExplain(t *testing.T) {
	datadriven.Walk(t, "testdata/commands", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			args := strings.Fields(d.Input)
			for i := range args {
				args[i] = strings.Trim(args[i], "'")
			}
			return run(t, args)
		})
	})
}

func run(t *testing.T, args []string) string {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var cmd struct {
		Explain Cmd `cmd:""`
	}
	k, err := kong.New(&cmd, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := k.Parse(append([]string{"explain"}, inFolder(args)...))
	if err == nil {
		err = c.Run(&Env{Context: context.Background(), Out: out, Clock: clock.NewManual(time.Unix(1e9, 0))})
	}
	dir, _ := filepath.Abs("testdata/site")
	if err != nil {
		return "error: " + strings.ReplaceAll(err.Error(), dir, "SITE") + "\n"
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(dir, "SITE", filepath.Dir(dir), "TESTDATA").Replace(string(b))
}

// inFolder names the usual configuration unless the arguments do.
func inFolder(args []string) []string {
	if len(args) > 0 && args[0] == "-c" {
		return args
	}
	return append([]string{"-c", "testdata/site"}, args...)
}
