package smtp

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sekisho/internal/evidence"
	"sekisho/internal/matchlist"
	"sekisho/internal/sasl/client"
)

// Login says how to log in to hosts (smtp_sasl_ parameters).
type Login struct {
	Passwords       []string // tables: "user:password" by sender, host or next hop
	SenderDependent bool     // the sender's comes first
	// What mechanisms must be worth in the clear, within TLS, and within TLS with a
	// host that has shown the right certificate.
	Plain, TLS, Verified client.Properties
	Filter               *matchlist.List // mechanisms that are used; nil: any
	SoftBounce           bool            // a refused login is temporary
	DummyAuth            bool            // add AUTH=<> to MAIL
	// Remember is how long a refused password is not tried again; 0: not at all.
	Remember time.Duration
}

// offeredAuth takes the mechanisms that the host offers.
func (s *session) offeredAuth(offered []string) {
	if s.d.a.SASL == nil {
		return
	}
	var usable []string
	for _, m := range offered {
		if s.d.a.mayUse(m) {
			usable = append(usable, m)
		}
	}
	switch first := !s.features.auth; {
	case len(usable) > 0:
		for _, m := range usable { // "AUTH=PLAIN" repeats what "AUTH PLAIN" says
			if !slices.Contains(s.features.mechanisms, m) {
				s.features.mechanisms = append(s.features.mechanisms, m)
			}
		}
	case first && len(offered) > 0:
		s.d.a.Log.Warn(fmt.Sprintf("%s offered no supported AUTH mechanisms: '%s'", s.relay(), strings.Join(offered, " ")))
	case first:
		s.d.a.Log.Warn(s.relay() + " offered null AUTH mechanism list")
	}
	s.features.auth = true
}

func (a *Agent) mayUse(mechanism string) bool {
	if a.SASL.Filter == nil {
		return true
	}
	r := a.SASL.Filter.MatchString(evidence.SourceFunc(func(q evidence.Question) evidence.Answer {
		value, found, err := a.World.Lookup(q.Name, q.Arg)
		switch {
		case err != nil:
			return evidence.Answer{Status: evidence.Failed, Reason: err.Error()}
		case found:
			return evidence.Answer{Status: evidence.Found, Value: value}
		}
		return evidence.Answer{Status: evidence.NotFound}
	}), mechanism)
	return r.Match && !r.Failed
}

// password looks up who we are for this host.
func (s *session) password() (user, password string, found bool, err error) {
	a := s.d.a
	value := ""
	if sender := s.d.r.Envelope.Sender; !a.LMTP && a.SASL.SenderDependent && sender != "" {
		m := a.Resolver.Find(evidence.NewSession(s.ctx, a.World), a.SASL.Passwords, sender)
		if m.Failed {
			return "", "", false, fmt.Errorf("%s lookup error: %w", params{lmtp: a.LMTP}.name("smtp_sasl_password_maps"), errLocal)
		}
		value, found = m.Value, m.Found
	}
	for _, key := range []string{s.host.name, s.d.site} {
		for _, table := range a.SASL.Passwords {
			if found {
				break
			}
			if value, found, err = a.World.Lookup(table, key); err != nil {
				return "", "", false, fmt.Errorf("%s lookup error: %w: %w", params{lmtp: a.LMTP}.name("smtp_sasl_password_maps"), errLocal, err)
			}
		}
	}
	user, password, _ = strings.Cut(value, ":")
	return user, password, found, nil
}

// hasPassword reports whether a login is needed here; it must not happen in the
// clear because TLS has failed.
func (s *session) hasPassword() bool {
	if s.d.a.SASL == nil {
		return false
	}
	_, _, found, err := s.password()
	return found || err != nil
}

// login logs in where the host offers it and there is a password for it.
func (s *session) login() bool {
	if s.d.a.SASL == nil || !s.features.auth {
		return true
	}
	user, password, found, err := s.password()
	switch {
	case err != nil:
		return s.lost(err, "")
	case !found:
		s.features.auth = false
		return true
	case len(s.features.mechanisms) == 0:
		return s.fail(trouble{dsn: "4.7.0", text: "SASL authentication failed: server " + s.name() +
			" offered no compatible authentication mechanisms for this type of connection security"})
	}
	r, err := s.authenticate(user, password)
	switch {
	case errors.As(err, new(loginError)):
		return s.fail(trouble{dsn: "4.7.0", text: err.Error()})
	case err != nil:
		return s.lost(err, "performing the "+s.greetingVerb()+" handshake")
	case r.class() == 2:
		return true
	}
	if s.d.a.SASL.SoftBounce && r.class() == 5 {
		r.dsn = "4" + r.dsn[1:]
	}
	return s.fail(trouble{dsn: r.dsn, mta: s.host.name, diag: r.text,
		text: fmt.Sprintf("SASL%s authentication failed; server %s said: %s", r.origin, s.saslName(r), r.text)})
}

func (s *session) saslName(r authReply) string {
	if r.origin != "" {
		return s.host.name
	}
	return s.name()
}

func (s *session) greetingVerb() string {
	switch {
	case s.d.a.LMTP:
		return "LHLO"
	case s.features.esmtp:
		return "EHLO"
	}
	return "HELO"
}

// authReply is how a login ended.
type authReply struct {
	reply
	origin string // " [CACHED]": remembered
}

// loginError: the login came to an end on our side.
type loginError string

func (e loginError) Error() string { return "SASL authentication failed; " + string(e) }

// maxAuthLine is how long a command may be (RFC 5321 section 4.5.3.1.4); a longer
// initial response waits for the server's first challenge.
const maxAuthLine = 512

// authenticate speaks the login's dialogue (smtp_sasl_authenticate).
func (s *session) authenticate(user, password string) (authReply, error) {
	a := s.d.a
	if r, ok := a.refusals.find(s.host.name, user, password, a.Clock.Now()); ok {
		return authReply{r, " [CACHED]"}, nil
	}
	cannot := func(why error) error {
		return loginError(fmt.Sprintf("cannot authenticate to server %s: %v", s.name(), why))
	}
	want := a.SASL.Plain
	if s.secured != nil {
		want = a.SASL.TLS
		if s.secured.matched {
			want = a.SASL.Verified
		}
	}
	e, err := client.Begin(s.features.mechanisms, want, user, password)
	if err != nil {
		if errors.Is(err, client.ErrNoMechanism) {
			a.Log.Warn("SASL authentication failure: No worthy mechs found")
		}
		return authReply{}, cannot(err)
	}
	command := "AUTH " + e.Mechanism
	initial := base64.StdEncoding.EncodeToString(e.First)
	pending := len(initial) > 0 // the initial response is still to be sent
	if pending && len(e.Mechanism)+len(initial)+8 <= maxAuthLine {
		command, pending = command+" "+initial, false
	}
	r, err := s.command(command)
	for steps := 0; err == nil && r.class() == 3; steps++ {
		if steps == 100 {
			return authReply{}, loginError("authentication protocol loop with server " + s.name())
		}
		answer := initial
		if challenge := strings.TrimLeft(r.text[3:], "- "); pending {
			if challenge != "" {
				return authReply{}, loginError(fmt.Sprintf("non-empty initial %s challenge from server %s: %s", e.Mechanism, s.name(), initial))
			}
			pending = false
		} else {
			decoded, err := decodeChallenge(challenge)
			if err != nil {
				return authReply{}, cannot(err)
			}
			next, err := e.Next(decoded)
			if errors.Is(err, client.ErrMore) {
				a.Log.Warn("SASL authentication problem: attempting client step after doneflag")
			}
			if err != nil {
				return authReply{}, cannot(err)
			}
			answer = base64.StdEncoding.EncodeToString(next)
		}
		r, err = s.command(answer)
	}
	if err == nil && r.code == 535 && a.SASL.Remember > 0 {
		a.refusals.store(s.host.name, user, password, r, a.Clock.Now().Add(a.SASL.Remember))
	}
	return authReply{r, ""}, err
}

// decodeChallenge decodes base64; what is wrong with it is said in Cyrus SASL's
// words.
func decodeChallenge(s string) ([]byte, error) {
	decoded, err := base64.StdEncoding.DecodeString(s)
	switch {
	case err == nil:
		return decoded, nil
	case len(s)%4 != 0:
		return nil, errors.New("another step is needed in authentication")
	}
	return nil, errors.New("bad protocol / cancel")
}

// refusals remembers refused passwords, so that an account is not locked by
// trying them again and again (smtp_sasl_auth_cache_name). It is safe for
// concurrent use.
type refusals struct {
	mu   sync.Mutex
	list map[[32]byte]refusal
}

type refusal struct {
	reply reply
	until time.Time
}

func refusalKey(host, user, password string) [32]byte {
	return sha256.Sum256([]byte(host + "\x00" + user + "\x00" + password))
}

func (r *refusals) find(host, user, password string, now time.Time) (reply, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := refusalKey(host, user, password)
	found, ok := r.list[key]
	if ok && now.After(found.until) {
		delete(r.list, key)
		ok = false
	}
	return found.reply, ok
}

func (r *refusals) store(host, user, password string, answer reply, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.list == nil {
		r.list = make(map[[32]byte]refusal)
	}
	r.list[refusalKey(host, user, password)] = refusal{answer, until}
}
