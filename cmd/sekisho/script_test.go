package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sekisho":  main,
		"postconf": main,
		"postmap":  main,
	})
}

// TestScripts runs the command lines of testdata/*.txtar as they are typed.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"MAIL_CONFIG"} {
				e.Setenv(name, "")
			}
			return os.Chmod(e.WorkDir, 0o755) // the server may become another user
		},
	})
}
