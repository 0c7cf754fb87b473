package sasl

import (
	"encoding/base64"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
)

// TestDummyCostsWhatNewPasswordsCost: a damaged dummy would be refused at once
// and give away that a user does not exist.
func TestDummyCostsWhatNewPasswordsCost(t *testing.T) {
	if ok, err := password.Verify(dummy, "x", ""); ok || err != nil {
		t.Errorf("ok=%v err=%v", ok, err)
	}
	stored, err := password.Hash(password.DefaultScheme, "x")
	if err != nil {
		t.Fatal(err)
	}
	if n := len("{BLF-CRYPT}$2y$10$"); stored[:n] != dummy[:n] || len(stored) != len(dummy) {
		t.Errorf("new passwords look like %s, the dummy is %s", stored, dummy)
	}
}

// TestUnknownUsersAreCheckedLikeKnownOnes looks at what is checked instead.
func TestUnknownUsersAreCheckedLikeKnownOnes(t *testing.T) {
	c := clock.NewManual(time.Unix(0, 0))
	d, err := directory.Create(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "a.db"), c)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	e, err := NewEmbedded(d, "mx.test", c)
	if err != nil {
		t.Fatal(err)
	}
	scheme := func() string {
		_, stored, ok, failed := e.lookup(t.Context(), "none@demo.test")
		if ok || failed != nil {
			t.Fatalf("ok=%v failed=%v", ok, failed)
		}
		return stored.Scheme()
	}
	if got := scheme(); got != "BLF-CRYPT" {
		t.Errorf("no accounts: %s", got)
	}
	if err := d.AddDomain(t.Context(), directory.Domain{Name: "demo.test", Active: true}, ""); err != nil {
		t.Fatal(err)
	}
	if err := d.AddMailbox(t.Context(), directory.Mailbox{Username: "a@demo.test", Active: true}, "{SSHA}x"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Mechanisms(false); err != nil {
		t.Fatal(err)
	}
	if got := scheme(); got != "SSHA" {
		t.Errorf("after a look at the accounts: %s", got)
	}
}

// TestManyLoginsAtOnce is for the race detector; the number of hashes at a
// time stays bounded.
func TestManyLoginsAtOnce(t *testing.T) {
	c := clock.NewManual(time.Unix(0, 0))
	d, err := directory.Create(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "a.db"), c)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.AddDomain(t.Context(), directory.Domain{Name: "demo.test", Active: true}, ""); err != nil {
		t.Fatal(err)
	}
	stored, err := password.Hash("SCRAM-SHA-256", "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.AddMailbox(t.Context(), directory.Mailbox{Username: "a@demo.test", Active: true}, stored); err != nil {
		t.Fatal(err)
	}
	e, err := NewEmbedded(d, "mx.test", c)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := e.Mechanisms(true); err != nil {
				t.Error(err)
			}
			initial := base64.StdEncoding.EncodeToString([]byte("\x00a@demo.test\x00x"))
			if _, step := e.Start(t.Context(), Client{}, "PLAIN", initial, true); step.Kind != Done {
				t.Errorf("step %+v", step)
			}
		})
	}
	wg.Wait()
	if len(e.slots) != 0 || cap(e.slots) < 1 {
		t.Errorf("%d of %d slots still taken", len(e.slots), cap(e.slots))
	}
}
