package directory_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"sekisho/internal/directory"
)

func testReplacePassword(t *testing.T, create creator) {
	d, _, _ := create(t)
	must(t, d.AddDomain(t.Context(), directory.Domain{Name: "demo.test", Active: true}, ""),
		d.AddMailbox(t.Context(), directory.Mailbox{Username: "a@demo.test", Active: true}, "{PLAIN}old"),
		d.AddMailbox(t.Context(), directory.Mailbox{Username: "off@demo.test"}, "{PLAIN}off"))

	must(t, d.ReplacePassword(t.Context(), "A@demo.test", "{PLAIN}old", "{PLAIN}new"))
	wantErr(t, d.ReplacePassword(t.Context(), "a@demo.test", "{PLAIN}old", "{PLAIN}late"), directory.ErrChanged, "a@demo.test")
	// MariaDB's collations do not tell these two apart.
	wantErr(t, d.ReplacePassword(t.Context(), "a@demo.test", "{PLAIN}NEW", "{PLAIN}late"), directory.ErrChanged, "a@demo.test")
	wantErr(t, d.ReplacePassword(t.Context(), "none@demo.test", "", "x"), directory.ErrNotFound, "none@demo.test")
	a, err := d.LookupPassword(t.Context(), "a@demo.test")
	must(t, err)
	if a.Stored != "{PLAIN}new" {
		t.Errorf("stored %s", a.Stored)
	}

	var all []string
	must(t, d.AllPasswords(t.Context(), func(stored string, active bool) bool {
		all = append(all, fmt.Sprint(stored, active))
		return true
	}))
	slices.Sort(all)
	if want := []string{"{PLAIN}newtrue", "{PLAIN}offfalse"}; !slices.Equal(all, want) {
		t.Errorf("all passwords: %q", all)
	}

	var wg sync.WaitGroup
	var won atomic.Int32
	for i := range 8 {
		wg.Go(func() {
			if d.ReplacePassword(t.Context(), "a@demo.test", "{PLAIN}new", fmt.Sprint("{PLAIN}", i)) == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 8 that knew the old password have replaced it", won.Load())
	}
}
