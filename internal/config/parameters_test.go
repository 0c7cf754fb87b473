package config_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sekisho/internal/config"
)

// update rewrites the states in parameters.tsv and docs/parameters.md:
//
//	go test ./internal/config -run 'TestStates|TestDocument' -update
//
// and once more, because the first run still has the old table compiled in.
var update = flag.Bool("update", false, "rewrite states and documentation of parameters")

const (
	tablePath    = "parameters.tsv"
	documentPath = "../../docs/parameters.md"
)

func TestTable(t *testing.T) {
	params := config.Parameters()
	if !slices.IsSortedFunc(params, func(a, b config.Parameter) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the table is not in order of name")
	}
	for i, p := range params {
		if i > 0 && params[i-1].Name == p.Name {
			t.Errorf("%s is there twice", p.Name)
		}
		if !slices.Contains([]config.Type{config.TypeString, config.TypeBool, config.TypeInt, config.TypeTime, config.TypeRaw}, p.Type) {
			t.Errorf("%s: unknown type %q", p.Name, p.Type)
		}
		if p.State != config.None && (p.Meaning == "" || p.Scope == "") {
			t.Errorf("%s is heeded (%s) and has no meaning or no scope in the table", p.Name, p.State)
		}
		if p.State == config.Differs && p.Why == "" {
			t.Errorf("%s differs, and the table does not say why", p.Name)
		}
		if p.State == config.Ours != strings.HasPrefix(p.Name, "sekisho_") {
			t.Errorf("%s: state %s", p.Name, p.State)
		}
	}
}

// TestDefaultsAreValid: every default has its own type and lies in its range.
func TestDefaultsAreValid(t *testing.T) {
	for _, level := range []string{"0", "3.6"} {
		var main strings.Builder
		fmt.Fprintf(&main, "compatibility_level = %s\nmydomain = d.test\n", level)
		for _, p := range config.Parameters() {
			if p.Name != "compatibility_level" && p.Default != "" {
				fmt.Fprintf(&main, "%s = %s\n", p.Name, p.Default)
			}
		}
		if _, _, err := config.Load(folder(t, main.String(), "")); err != nil {
			t.Errorf("level %s: %v", level, err)
		}
	}
}

// TestStates compares what the table says is heeded with what the code reads:
// the parameter names in its string constants, and those that the defaults of
// such parameters refer to.
func TestStates(t *testing.T) {
	read, asked := constants(t)
	heeded := make(map[string]bool)
	for _, p := range config.Parameters() {
		heeded[p.Name] = isRead(p.Name, read)
	}
	for changed := true; changed; {
		changed = false
		for _, p := range config.Parameters() {
			if !heeded[p.Name] {
				continue
			}
			_ = config.References(p.Default, func(n string) {
				if !heeded[n] {
					heeded[n], changed = true, true
				}
			})
		}
	}
	if *update {
		rewriteStates(t, heeded)
		return
	}
	for _, p := range config.Parameters() {
		switch {
		case heeded[p.Name] && p.State == config.None:
			t.Errorf("%s is read (%s) and its state in %s is none; run with -update", p.Name, read[p.Name], tablePath)
		case !heeded[p.Name] && p.State != config.None:
			t.Errorf("%s: state %s in %s, and nothing reads it; run with -update", p.Name, p.State, tablePath)
		}
	}
	for name, place := range asked {
		if _, known := config.Defaults().Parameter(name); !known {
			t.Errorf("%s: no parameter %q in the table", place, name)
		}
	}
}

// isRead reports whether a name is among the constants, whole or as the suffix
// that makes it a transport's own.
func isRead(name string, read map[string]string) bool {
	if read[name] != "" {
		return true
	}
	for i := range name {
		if name[i] == '_' && i > 0 && read[name[i:]] != "" && strings.Count(name[i:], "_") > 1 {
			return true
		}
	}
	return false
}

// getters are the methods of Config that take a parameter's name.
var getters = []string{"Bool", "Duration", "Eval", "Int", "List", "Pos", "Raw", "Set", "Str", "Strings"}

// constants returns every string constant of the program with its place, and
// those that are given to a getter of a Config.
func constants(t *testing.T) (read, asked map[string]string) {
	t.Helper()
	read, asked = make(map[string]string), make(map[string]string)
	set := token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		skip := strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "../check/") || strings.HasPrefix(path, "../site/testdata")
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || skip || path == "../config/names.go" {
			return err
		}
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil // somebody else's test finds it
		}
		usesConfig := slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return strings.HasSuffix(i.Path.Value, `/internal/config"`) })
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if s, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					read[s] = set.Position(n.Pos()).String()
				}
			case *ast.CallExpr:
				if name, ok := getter(n); ok && usesConfig {
					asked[name] = set.Position(n.Pos()).String()
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return read, asked
}

func getter(call *ast.CallExpr) (name string, ok bool) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) != 1 || !slices.Contains(getters, sel.Sel.Name) {
		return "", false
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	name, err := strconv.Unquote(lit.Value)
	return name, err == nil && strings.Contains(name, "_")
}

func rewriteStates(t *testing.T, heeded map[string]bool) {
	t.Helper()
	b, err := os.ReadFile(tablePath)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	for i, l := range lines {
		f := strings.Split(l, "\t")
		switch state := config.State(f[6]); {
		case heeded[f[0]] && state == config.None:
			f[6] = string(config.Same)
		case !heeded[f[0]] && state != config.Ours:
			f[6] = string(config.None)
		}
		lines[i] = strings.Join(f, "\t")
	}
	if err := os.WriteFile(tablePath, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDocument compares docs/parameters.md with the table it is made from.
func TestDocument(t *testing.T) {
	want := document(config.Parameters())
	if *update {
		if err := os.WriteFile(documentPath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(documentPath)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale; run: go test ./internal/config -run TestDocument -update", documentPath)
	}
}

// document writes the table as a page.
func document(params []config.Parameter) string {
	var b strings.Builder
	b.WriteString(`# Parameters

Made from ` + "`internal/config/parameters.tsv`" + ` by ` + "`go test ./internal/config -run TestDocument -update`" + `; a test fails when it is stale.

Every parameter of Postfix 3.7 can stand in main.cf and is checked and shown as Postfix checks and shows it. The first table has
those that Sekisho heeds; the others have no effect, and ` + "`sekisho check`" + ` says so when one is set. "same" means as Postfix does.

`)
	heeded := slices.DeleteFunc(slices.Clone(params), func(p config.Parameter) bool { return p.State == config.None })
	fmt.Fprintf(&b, "## Heeded: %d\n\n| name | default | type | read by | state | meaning |\n|---|---|---|---|---|---|\n", len(heeded))
	for _, p := range heeded {
		state := string(p.State)
		if p.Why != "" {
			state += ": " + p.Why
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", p.Name, code(p.Default), kind(p), p.Scope, state, p.Meaning)
	}
	others := make(map[string][]string)
	for _, p := range params {
		if p.State == config.None {
			group, _, _ := strings.Cut(p.Name, "_")
			others[group] = append(others[group], "`"+p.Name+"`")
		}
	}
	fmt.Fprintf(&b, "\n## Without effect: %d\n\n", len(params)-len(heeded))
	for _, group := range slices.Sorted(maps.Keys(others)) {
		b.WriteString("- " + strings.Join(others[group], ", ") + "\n")
	}
	return b.String()
}

// kind is the type with unit and range.
func kind(p config.Parameter) string {
	s := string(p.Type)
	if p.Type == config.TypeRaw {
		s = "string"
	}
	if p.Unit != "" && p.Unit != s {
		s += ", " + p.Unit
	}
	if p.Range != "" {
		s += ", " + strings.ReplaceAll(p.Range, "..", "…")
	}
	return s
}

func code(s string) string {
	if s == "" {
		return ""
	}
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	fence := "`"
	if strings.Contains(s, "`") {
		fence = "``"
	}
	return fence + strings.ReplaceAll(s, "|", `\|`) + fence
}
