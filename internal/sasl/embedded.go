package sasl

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
)

// Texts of refusals, as Postfix gives them with Dovecot.
const (
	reasonMechanism = "Invalid authentication mechanism"
	reasonInitial   = "Invalid base64 data in initial response"
	reasonContinued = "Invalid base64 data in continued response"
	reasonTemporary = "Temporary authentication failure"
)

// Embedded checks passwords against the account directory. CRAM-MD5 and SCRAM
// are offered only while every active account can use them: a client that
// picks the strongest mechanism would otherwise fail and not try another.
type Embedded struct {
	dir   *directory.Directory
	host  string // in CRAM-MD5 challenges
	clock clock.Clock
	slots chan struct{} // one for each expensive hash that may run at a time
	key   []byte        // makes up salts for accounts that have none

	upgradeTo string // see UpgradeTo

	sample atomic.Pointer[password.Password] // a stored form as the site has them

	mu      sync.Mutex
	forms   forms // what all accounts can do
	scanned time.Time
}

// forms says which mechanisms every account's stored password allows.
type forms struct{ cram, scram bool }

// formsAge is how long a look at all stored passwords is trusted.
const formsAge = time.Minute

// dummy is checked in place of an account that does not exist, until a real
// one has been seen: bcrypt at the cost of new passwords.
const dummy = "{BLF-CRYPT}$2y$10$abcdefghijklmnopqrstuuYP4Cq9Va3eMVQ1mVPVrqT6d0CqC0cGe"

// NewEmbedded returns the backend over dir; host is the server's name.
func NewEmbedded(dir *directory.Directory, host string, c clock.Clock) (*Embedded, error) {
	sample, err := password.Parse(dummy)
	if err != nil {
		return nil, err
	}
	key := make([]byte, sha256.Size)
	rand.Read(key)
	e := &Embedded{
		dir:   dir,
		host:  host,
		clock: c,
		slots: make(chan struct{}, runtime.GOMAXPROCS(0)),
		key:   key,
	}
	e.sample.Store(&sample)
	return e, nil
}

// Mechanisms returns PLAIN and LOGIN, and what all accounts can do besides.
func (e *Embedded) Mechanisms(tls bool) ([]Mechanism, error) {
	f, err := e.allForms()
	list := []Mechanism{
		{Name: "PLAIN", Plaintext: true},
		{Name: "LOGIN", Plaintext: true},
	}
	if f.cram {
		list = append(list, Mechanism{Name: "CRAM-MD5", Active: true, Dictionary: true})
	}
	if f.scram {
		list = append(list, Mechanism{Name: "SCRAM-SHA-256", MutualAuth: true})
		if tls {
			list = append(list, Mechanism{Name: "SCRAM-SHA-256-PLUS", MutualAuth: true})
		}
	}
	return list, err
}

// allForms looks through the stored passwords, at most once a minute and only
// until it is clear that nothing more is offered.
func (e *Embedded) allForms() (forms, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock.Now()
	if !e.scanned.IsZero() && now.Sub(e.scanned) < formsAge {
		return e.forms, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	f, seen := forms{true, true}, false
	err := e.dir.StoredPasswords(ctx, func(stored string) bool {
		p, err := password.Parse(stored)
		if err != nil {
			f = forms{}
			return false
		}
		if !seen {
			e.sample.Store(&p)
			seen = true
		}
		f.cram = f.cram && p.HasCRAM()
		f.scram = f.scram && p.HasSCRAM()
		return f.cram || f.scram
	})
	if err != nil {
		return forms{}, err
	}
	if !seen {
		f = forms{}
	}
	e.forms, e.scanned = f, now
	return f, nil
}

// Start begins an exchange.
func (e *Embedded) Start(ctx context.Context, c Client, mech, initial string, hasInitial bool) (Exchange, Step) {
	var x mechanism
	switch strings.ToUpper(mech) {
	case "PLAIN":
		x = &plain{backend: e}
	case "LOGIN":
		x = &login{backend: e}
	case "CRAM-MD5":
		x = &cramMD5{backend: e}
	case "SCRAM-SHA-256":
		x = &scramSHA256{backend: e, client: c}
	case "SCRAM-SHA-256-PLUS":
		if c.ChannelBinding == nil {
			return nil, Step{Kind: Failed, Reason: reasonMechanism}
		}
		x = &scramSHA256{backend: e, client: c, plus: true}
	default:
		return nil, Step{Kind: Failed, Reason: reasonMechanism}
	}
	if !hasInitial {
		return &exchange{x}, x.first()
	}
	if initial == "=" {
		initial = ""
	}
	raw, err := base64.StdEncoding.DecodeString(initial)
	if err != nil {
		return nil, Step{Kind: Failed, Reason: reasonInitial}
	}
	return continued(x, x.next(ctx, raw, true))
}

// continued returns an exchange only if there is more to come.
func continued(x mechanism, s Step) (Exchange, Step) {
	if s.Kind != Challenge {
		return nil, s
	}
	return &exchange{x}, s
}

// mechanism is the server's part of one mechanism, in decoded bytes.
type mechanism interface {
	// first is the challenge for a client without initial response.
	first() Step
	// next takes a response.
	next(ctx context.Context, response []byte, initial bool) Step
}

// exchange decodes for a mechanism.
type exchange struct{ mechanism }

// Next implements Exchange.
func (x *exchange) Next(ctx context.Context, response string) Step {
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return Step{Kind: Failed, Reason: reasonContinued}
	}
	return x.next(ctx, raw, false)
}

func challenge(text string) Step {
	return Step{Kind: Challenge, Challenge: base64.StdEncoding.EncodeToString([]byte(text))}
}

// refuse is the answer to a wrong password, an unknown user and everything
// else a stranger need not tell apart.
func refuse(user string) Step {
	return Step{Kind: Failed, User: logName(user), UserKnown: true}
}

// logName is the name as Dovecot reports a failure: in lower case, but
// untouched when it has a character that no login name may have
// (auth_username_chars).
func logName(user string) string {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@"
	if strings.Trim(user, allowed) != "" {
		return user
	}
	return strings.ToLower(user)
}

// lookup finds the account of user. ok is false when there is none that may
// log in; stored is then a form that takes as long to check as others do.
func (e *Embedded) lookup(ctx context.Context, user string) (a directory.Account, stored password.Password, ok bool, failed *Step) {
	a, err := e.dir.LookupPassword(ctx, user)
	if err == nil {
		if stored, err = password.Parse(a.Stored); err == nil {
			e.sample.Store(&stored)
			return a, stored, a.Active, nil
		}
	}
	stored = *e.sample.Load()
	switch {
	case errors.Is(err, password.ErrScheme):
		// The reason is for the administrator only.
		s := refuse(user)
		s.Warnings = []string{"SASL: mailbox " + a.User + ": " + err.Error()}
		return a, stored, false, &s
	case errors.Is(err, directory.ErrNotFound):
		return a, stored, false, nil
	}
	s := Step{Kind: TempFailed, Reason: reasonTemporary, User: logName(user), UserKnown: true,
		Warnings: []string{"SASL: " + err.Error()}}
	return a, stored, false, &s
}

// check decides a login by password. An unknown user costs the same time.
func (e *Embedded) check(ctx context.Context, user, plaintext string) Step {
	a, stored, ok, failed := e.lookup(ctx, user)
	if failed != nil && failed.Kind == TempFailed {
		return *failed
	}
	var match bool
	var renewed string
	var err, renewErr error
	if !e.hashing(ctx, func() {
		if match, err = stored.Verify(plaintext, a.User); match && ok {
			renewed, renewErr = e.upgraded(stored, plaintext)
		}
	}) {
		return Step{Kind: TempFailed, Reason: reasonTemporary, User: logName(user), UserKnown: true}
	}
	switch {
	case failed != nil:
		return *failed
	case err != nil && ok:
		s := refuse(user)
		s.Warnings = []string{"SASL: mailbox " + a.User + ": " + err.Error()}
		return s
	case !match || !ok:
		return refuse(user)
	}
	return Step{Kind: Done, User: a.User, UserKnown: true, Warnings: e.rewrite(ctx, a, renewed, renewErr)}
}

// hashing runs f when the machine has time for it, false if ctx ends before.
func (e *Embedded) hashing(ctx context.Context, f func()) bool {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
		f()
		return true
	case <-ctx.Done():
		return false
	}
}
