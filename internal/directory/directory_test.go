package directory_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
)

var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

const stamp = "2026-11-24 12:00:00"

// creator makes an empty directory and tells how it is called.
type creator func(t *testing.T) (*directory.Directory, string, *clock.Manual)

// tests are what every database must do.
var tests = map[string]func(*testing.T, creator){
	"Domains":         testDomains,
	"RemoveDomain":    testRemoveDomain,
	"Mailboxes":       testMailboxes,
	"Aliases":         testAliases,
	"Passwords":       testPasswords,
	"ReplacePassword": testReplacePassword,
	"ConcurrentUse":   testConcurrentUse,
}

func TestSQLite(t *testing.T) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, createFile) })
	}
}

func createFile(t *testing.T) (*directory.Directory, string, *clock.Manual) {
	t.Helper()
	spec := "sqlite:" + filepath.Join(t.TempDir(), "a b?#%.db")
	c := clock.NewManual(start)
	d, err := directory.Create(t.Context(), spec, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, spec, c
}

// must stops the test at the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wantErr checks that err wraps target and says text.
func wantErr(t *testing.T, err, target error, text string) {
	t.Helper()
	if !errors.Is(err, target) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one that wraps %v and says %q", err, target, text)
	}
}

func testDomains(t *testing.T, create creator) {
	d, _, c := create(t)
	ctx := t.Context()
	dom := directory.Domain{Name: "Demo.Test", Description: "d", Transport: "virtual", Active: true}
	must(t, d.AddDomain(ctx, dom, "admin@second.test"), d.AddDomain(ctx, directory.Domain{Name: "second.test"}, ""))
	wantErr(t, d.AddDomain(ctx, dom, ""), directory.ErrExists, "domain demo.test")
	for _, bad := range []string{"", "ALL", "a b", "-x.test", "1.2.3.4", "a..b"} {
		wantErr(t, d.AddDomain(ctx, directory.Domain{Name: bad}, ""), directory.ErrInvalid, "as a domain name")
	}

	got, err := d.Domain(ctx, "DEMO.test")
	want := directory.Domain{Name: "demo.test", Description: "d", Transport: "virtual", Active: true, Created: stamp, Modified: stamp}
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	aliases, err := d.Aliases(ctx, "demo.test")
	if err != nil || len(aliases) != 4 || aliases[2].Address != "postmaster@demo.test" || aliases[2].Goto[0] != "admin@second.test" {
		t.Errorf("default aliases %+v, %v", aliases, err)
	}

	c.Advance(time.Minute)
	got.Active, got.AliasOf, got.MaxQuota = false, "second.test", 5
	must(t, d.SetDomain(ctx, got))
	again, err := d.Domain(ctx, "demo.test")
	got.Modified = "2026-11-24 12:01:00"
	if err != nil || again != got {
		t.Errorf("got %+v, %v\nwant %+v", again, err, got)
	}
	got.AliasOf = "demo.test"
	wantErr(t, d.SetDomain(ctx, got), directory.ErrInvalid, "alias of itself")
	got.AliasOf = "none.test"
	wantErr(t, d.SetDomain(ctx, got), directory.ErrNotFound, "domain none.test")
	got.AliasOf = ""
	must(t, d.SetDomain(ctx, got))
	wantErr(t, d.SetDomain(ctx, directory.Domain{Name: "none.test"}), directory.ErrNotFound, "none.test")

	list, err := d.Domains(ctx)
	if err != nil || len(list) != 2 || list[0].Name != "demo.test" || list[0].AliasOf != "" || list[1].Name != "second.test" {
		t.Errorf("got %+v, %v", list, err)
	}
}

func testRemoveDomain(t *testing.T, create creator) {
	d, _, _ := create(t)
	ctx := t.Context()
	must(t, d.AddDomain(ctx, directory.Domain{Name: "demo.test", Active: true}, ""),
		d.AddDomain(ctx, directory.Domain{Name: "second.test", Active: true}, ""),
		d.AddMailbox(ctx, directory.Mailbox{Username: "alice@demo.test", Active: true}, "x"),
		d.AddMailbox(ctx, directory.Mailbox{Username: "bob@second.test", Active: true}, "x"))
	wantErr(t, d.RemoveDomain(ctx, "demo.test", false), directory.ErrInvalid, "1 mailboxes")
	must(t, d.RemoveDomain(ctx, "Demo.test", true))
	wantErr(t, d.RemoveDomain(ctx, "demo.test", true), directory.ErrNotFound, "domain demo.test")
	wantErr(t, d.RemoveDomain(ctx, "ALL", true), directory.ErrNotFound, "domain all")
	_, err := d.Mailbox(ctx, "alice@demo.test")
	wantErr(t, err, directory.ErrNotFound, "mailbox alice@demo.test")
	_, err = d.Alias(ctx, "alice@demo.test")
	wantErr(t, err, directory.ErrNotFound, "alias alice@demo.test")
	if list, err := d.Mailboxes(ctx, ""); err != nil || len(list) != 1 {
		t.Errorf("got %+v, %v", list, err)
	}
}

func testMailboxes(t *testing.T, create creator) {
	d, _, _ := create(t)
	ctx := t.Context()
	must(t, d.AddDomain(ctx, directory.Domain{Name: "demo.test", Active: true, Mailboxes: 2, MaxQuota: 10}, ""))
	m := directory.Mailbox{Username: "Alice@Demo.test", Name: "Alice", Quota: 5 * directory.MB, Active: true}
	must(t, d.AddMailbox(ctx, m, "{PLAIN}x"))
	got, err := d.Mailbox(ctx, "ALICE@demo.test")
	want := directory.Mailbox{Username: "alice@demo.test", Name: "Alice", Maildir: "demo.test/alice/", Quota: 5 * directory.MB,
		Domain: "demo.test", Active: true, Created: stamp, Modified: stamp}
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	alias, err := d.Alias(ctx, "alice@demo.test")
	if err != nil || !reflect.DeepEqual(alias.Goto, []string{"alice@demo.test"}) || !alias.Active {
		t.Errorf("own alias %+v, %v", alias, err)
	}
	if list, err := d.Aliases(ctx, ""); err != nil || len(list) != 0 {
		t.Errorf("the own alias is listed: %+v, %v", list, err)
	}

	wantErr(t, d.AddMailbox(ctx, m, "x"), directory.ErrExists, "mailbox alice@demo.test")
	wantErr(t, d.AddMailbox(ctx, directory.Mailbox{Username: "a@none.test"}, "x"), directory.ErrNotFound, "domain none.test")
	wantErr(t, d.AddMailbox(ctx, directory.Mailbox{Username: "b@demo.test"}, "x"), directory.ErrInvalid, "at most 10 MB")
	wantErr(t, d.AddMailbox(ctx, directory.Mailbox{Username: "b@demo.test", Quota: 11 * directory.MB}, "x"), directory.ErrInvalid, "at most 10 MB")
	for _, bad := range []string{"", "@demo.test", "a/b@demo.test", "..@demo.test", ".a@demo.test", "a b@demo.test", "a@b@demo.test", strings.Repeat("a", 65) + "@demo.test"} {
		wantErr(t, d.AddMailbox(ctx, directory.Mailbox{Username: bad, Quota: 1}, "x"), directory.ErrInvalid, "")
	}
	must(t, d.AddMailbox(ctx, directory.Mailbox{Username: "b@demo.test", Quota: 1}, "x"))
	wantErr(t, d.AddMailbox(ctx, directory.Mailbox{Username: "c@demo.test", Quota: 1}, "x"), directory.ErrInvalid, "may have 2 mailboxes")

	got.Active, got.Name = false, "A."
	must(t, d.SetMailbox(ctx, got))
	if got, err := d.Mailbox(ctx, "alice@demo.test"); err != nil || got.Active || got.Name != "A." {
		t.Errorf("got %+v, %v", got, err)
	}
	if alias, err := d.Alias(ctx, "alice@demo.test"); err != nil || alias.Active {
		t.Errorf("mail for a mailbox that is off would bounce after it was accepted: %+v, %v", alias, err)
	}
	wantErr(t, d.SetMailbox(ctx, directory.Mailbox{Username: "none@demo.test"}), directory.ErrNotFound, "mailbox none@demo.test")
	wantErr(t, d.RemoveAlias(ctx, "alice@demo.test"), directory.ErrInvalid, "is a mailbox")
	must(t, d.RemoveMailbox(ctx, "ALICE@demo.test"))
	wantErr(t, d.RemoveMailbox(ctx, "alice@demo.test"), directory.ErrNotFound, "alice@demo.test")
	_, err = d.Alias(ctx, "alice@demo.test")
	wantErr(t, err, directory.ErrNotFound, "alice@demo.test")
}

func testAliases(t *testing.T, create creator) {
	d, _, _ := create(t)
	ctx := t.Context()
	must(t, d.AddDomain(ctx, directory.Domain{Name: "demo.test", Aliases: 2}, ""),
		d.AddMailbox(ctx, directory.Mailbox{Username: "alice@demo.test", Active: true}, "x"),
		d.AddAlias(ctx, directory.Alias{Address: "Team@demo.test", Goto: []string{"alice@demo.test", "x@remote.test"}, Active: true}),
		d.AddAlias(ctx, directory.Alias{Address: "@demo.test", Goto: []string{"alice@demo.test"}}))
	wantErr(t, d.AddAlias(ctx, directory.Alias{Address: "third@demo.test", Goto: []string{"alice@demo.test"}}), directory.ErrInvalid, "may have 2 aliases")
	wantErr(t, d.AddAlias(ctx, directory.Alias{Address: "alice@demo.test", Goto: []string{"x@y.test"}}), directory.ErrExists, "mailbox alice@demo.test")
	wantErr(t, d.AddAlias(ctx, directory.Alias{Address: "team@demo.test", Goto: []string{"x@y.test"}}), directory.ErrExists, "alias team@demo.test")
	wantErr(t, d.AddMailbox(ctx, directory.Mailbox{Username: "team@demo.test"}, "x"), directory.ErrExists, "alias team@demo.test")
	for _, bad := range [][]string{nil, {"x"}, {"a b@c.test"}, {"a@b.test,c@d.test"}, {"x@"}} {
		wantErr(t, d.SetAlias(ctx, directory.Alias{Address: "team@demo.test", Goto: bad}), directory.ErrInvalid, "alias")
	}
	must(t, d.SetAlias(ctx, directory.Alias{Address: "TEAM@demo.test", Goto: []string{"bob@demo.test"}}))
	list, err := d.Aliases(ctx, "demo.test")
	want := []directory.Alias{
		{Address: "@demo.test", Goto: []string{"alice@demo.test"}, Domain: "demo.test", Created: stamp, Modified: stamp},
		{Address: "team@demo.test", Goto: []string{"bob@demo.test"}, Domain: "demo.test", Created: stamp, Modified: stamp},
	}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("got  %+v, %v\nwant %+v", list, err, want)
	}
	must(t, d.RemoveAlias(ctx, "Team@demo.test"))
	wantErr(t, d.RemoveAlias(ctx, "team@demo.test"), directory.ErrNotFound, "alias team@demo.test")
}

func testPasswords(t *testing.T, create creator) {
	d, _, _ := create(t)
	ctx := t.Context()
	must(t, d.AddDomain(ctx, directory.Domain{Name: "demo.test", Active: true}, ""),
		d.AddDomain(ctx, directory.Domain{Name: "off.test"}, ""),
		d.AddMailbox(ctx, directory.Mailbox{Username: "alice@demo.test", Active: true}, "{PLAIN}a"),
		d.AddMailbox(ctx, directory.Mailbox{Username: "off@demo.test"}, "{PLAIN}o"),
		d.AddMailbox(ctx, directory.Mailbox{Username: "carol@off.test", Active: true}, "{PLAIN}c"))
	for user, want := range map[string]directory.Account{
		"ALICE@Demo.Test": {User: "alice@demo.test", Stored: "{PLAIN}a", Active: true},
		"off@demo.test":   {User: "off@demo.test", Stored: "{PLAIN}o"},
		"carol@off.test":  {User: "carol@off.test", Stored: "{PLAIN}c"},
	} {
		if got, err := d.LookupPassword(ctx, user); err != nil || got != want {
			t.Errorf("%s: %+v, %v", user, got, err)
		}
	}
	for _, user := range []string{"none@demo.test", "", "alice@demo.test' OR '1'='1", "ユーザ@demo.test", "%"} {
		_, err := d.LookupPassword(ctx, user)
		wantErr(t, err, directory.ErrNotFound, user)
	}
	must(t, d.SetPassword(ctx, "Alice@demo.test", "{PLAIN}new"))
	wantErr(t, d.SetPassword(ctx, "none@demo.test", "x"), directory.ErrNotFound, "none@demo.test")
	var all []string
	must(t, d.StoredPasswords(ctx, func(s string) bool { all = append(all, s); return true }))
	slices.Sort(all)
	if strings.Join(all, " ") != "{PLAIN}c {PLAIN}new" {
		t.Errorf("stored passwords %q", all)
	}
}

func TestOpen(t *testing.T) {
	d, spec, c := createFile(t)
	must(t, d.AddDomain(t.Context(), directory.Domain{Name: "demo.test"}, ""))
	again, err := directory.Create(t.Context(), spec, c)
	must(t, err)
	defer again.Close()
	if list, err := again.Domains(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("a second Create lost data: %+v, %v", list, err)
	}
	path := strings.TrimPrefix(spec, "sqlite:")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("everybody can read the passwords: %v, %v", info.Mode(), err)
	}
	_, err = directory.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "none.db"), c)
	wantErr(t, err, directory.ErrNotFound, "none.db")
	if _, err = directory.Open(t.Context(), "ldap:x", c); err == nil || !strings.Contains(err.Error(), `"ldap:x"`) {
		t.Errorf("err = %v", err)
	}
	text := filepath.Join(t.TempDir(), "text.db")
	must(t, os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600))
	if _, err = directory.Open(t.Context(), "sqlite:"+text, c); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("err = %v", err)
	}
}

// testConcurrentUse has readers and writers on two handles, as the server and
// the command line are.
func testConcurrentUse(t *testing.T, create creator) {
	d, spec, c := create(t)
	ctx := context.Background()
	must(t, d.AddDomain(ctx, directory.Domain{Name: "demo.test", Active: true}, ""))
	other, err := directory.Open(ctx, spec, c)
	must(t, err)
	defer other.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			handle := []*directory.Directory{d, other}[i%2]
			for j := range 5 {
				user := fmt.Sprintf("u%d-%d@demo.test", i, j)
				if err := handle.AddMailbox(ctx, directory.Mailbox{Username: user, Active: true}, "{PLAIN}x"); err != nil {
					t.Error(err)
				}
				if a, err := handle.LookupPassword(ctx, user); err != nil || a.User != user {
					t.Errorf("%+v, %v", a, err)
				}
			}
		})
	}
	wg.Wait()
	if list, err := d.Mailboxes(ctx, "demo.test"); err != nil || len(list) != 40 {
		t.Errorf("%d mailboxes, %v", len(list), err)
	}
}
