package policyd

import (
	"bufio"
	"strings"
	"testing"
)

func FuzzReadAction(f *testing.F) {
	for _, s := range []string{"action=OK\n\n", "a=b\naction=\n\n", "\n", "action\n", "=\n\n", "action=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		action, err := readAction(bufio.NewReader(strings.NewReader(reply)), "s")
		if err != nil {
			return
		}
		if strings.Contains(action, "\n") || !strings.Contains("\n"+reply, "\naction="+action+"\n") {
			t.Errorf("action %q of %q", action, reply)
		}
	})
}
