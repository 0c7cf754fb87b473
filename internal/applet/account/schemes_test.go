package account_test

import (
	"testing"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
)

// TestSchemes counts what sekisho mailbox add would not store.
func TestSchemes(t *testing.T) {
	s := newSite(t)
	if _, err := s.run("", "domain add demo.test"); err != nil {
		t.Fatal(err)
	}
	d, err := directory.Open(t.Context(), s.spec, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, m := range []struct {
		user, stored string
		active       bool
	}{
		{"a@demo.test", "secret", true},
		{"b@demo.test", "{plain}secret", false},
		{"c@demo.test", "5f4dcc3b5aa765d61d8327deb882cf99", true},
		{"d@demo.test", "$1$saltsalt$9T3cUS1EUG/L6TvTCoJP10", true},
		{"e@demo.test", "{NTLM}x", true},
		{"f@demo.test", "{SSHA512.HEX}zz", false},
	} {
		if err := d.AddMailbox(t.Context(), directory.Mailbox{Username: m.user, Active: m.active}, m.stored); err != nil {
			t.Fatal(err)
		}
	}
	const want = "PLAIN\t2\t1\nunusable\t2\t1\nCRYPT $1$\t1\t1\nDIGEST\t1\t1\n"
	if got, err := s.run("", "mailbox schemes"); err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}
