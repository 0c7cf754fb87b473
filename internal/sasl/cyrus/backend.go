package cyrus

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sekisho/internal/clock"
	"sekisho/internal/sasl"
)

// Peer is a program that knows passwords.
type Peer interface {
	// Check asks whether a password is right. Not ok and no error: it is not,
	// for a reason that Cyrus does not care for. An error: it could not be asked.
	Check(ctx context.Context, login, password, service, realm string) (ok bool, reason string, err error)
	// Probe tells why it cannot be asked.
	Probe(ctx context.Context) error
}

// Method is a pwcheck_method that is not this package's.
type Method struct {
	Keys []string // of the file, that it heeds
	// Open prepares a peer with what get returns of the file's keys.
	Open func(get func(key string) string) (Peer, error)
}

// Options are what New needs besides the file.
type Options struct {
	Hostname    string            // the server's name: the realm when nothing else says it
	LocalDomain string            // smtpd_sasl_local_domain, may be empty
	Methods     map[string]Method // by their names in pwcheck_method
	Clock       clock.Clock
}

// Backend is a sasl.Backend.
type Backend struct {
	file       *File
	o          Options
	mechanisms []sasl.Mechanism
	checks     []check
	store      *store // nil without auxprop
	warnings   []string
}

// check is a method that was chosen.
type check struct {
	name string
	// ask decides about a canonical name; note is for the log.
	ask   func(ctx context.Context, user, password, service string) (ok bool, note string, err error)
	probe func(ctx context.Context) error
}

// New prepares what a file asks for. It connects to nothing; see Probe. Errors
// tell the file and the line.
func New(f *File, o Options) (*Backend, error) {
	b := &Backend{file: f, o: o}
	known := slices.Clone(ownKeys)
	for _, name := range words(cmp.Or(strings.ToLower(f.Get("pwcheck_method")), "auxprop")) {
		c := check{name: name}
		if name == "auxprop" {
			s, err := openStore(f, o)
			if err != nil {
				return nil, err
			}
			b.store, c.ask, c.probe = s, s.check, s.probe
		} else {
			m, ok := o.Methods[name]
			if !ok {
				return nil, f.fail("pwcheck_method", "%q is unknown here: there are auxprop%s", name, b.others())
			}
			peer, err := m.Open(f.Get)
			if err != nil {
				return nil, f.fail("pwcheck_method", "%s: %w", name, err)
			}
			known, c.ask = append(known, m.Keys...), b.split(peer)
			c.probe = peer.Probe
		}
		b.checks = append(b.checks, c)
	}
	b.reportUnknown(known)
	return b, b.chooseMechanisms()
}

// others lists the methods besides auxprop.
func (b *Backend) others() string {
	var names strings.Builder
	for _, name := range slices.Sorted(maps.Keys(b.o.Methods)) {
		names.WriteString(", " + name)
	}
	return names.String()
}

// split gives a peer the parts of a login name that it wants apart: what is
// behind the last "@" is the realm.
func (b *Backend) split(peer Peer) func(ctx context.Context, user, password, service string) (bool, string, error) {
	return func(ctx context.Context, user, password, service string) (bool, string, error) {
		realm := b.o.LocalDomain
		if i := strings.LastIndexByte(user, '@'); i >= 0 {
			user, realm = user[:i], user[i+1:]
		}
		ok, _, err := peer.Check(ctx, user, password, service, realm)
		return ok, "", err
	}
}

// ownKeys are the keys that this package heeds, or that mean nothing here but
// are right in a file for Cyrus: how much it logs (our errors are always
// logged), which of its plug-ins it loads and how it writes to a database.
var ownKeys = []string{
	"pwcheck_method", "auxprop_plugin", "mech_list", "log_level", "plugin_list", "plugin_path", "saslauthd_path",
	"sql_engine", "sql_hostnames", "sql_hostname", "sql_user", "sql_passwd", "sql_database", "sql_select",
	"sql_usessl", "sql_verbose", "sql_insert", "sql_update",
}

// reportUnknown warns of keys without effect.
func (b *Backend) reportUnknown(known []string) {
	for _, key := range b.file.keys {
		if !slices.Contains(known, key) {
			b.warnings = append(b.warnings, b.file.fail(key, "this key is unknown here and has no effect").Error())
		}
	}
}

// able are the mechanisms there are.
func (b *Backend) able() []sasl.Mechanism {
	list := []sasl.Mechanism{{Name: "PLAIN", Plaintext: true}, {Name: "LOGIN", Plaintext: true}}
	if b.store != nil {
		list = append(list,
			sasl.Mechanism{Name: "CRAM-MD5", Active: true, Dictionary: true},
			sasl.Mechanism{Name: "SCRAM-SHA-256", MutualAuth: true},
			sasl.Mechanism{Name: "DIGEST-MD5", Dictionary: true, MutualAuth: true})
	}
	return list
}

// chooseMechanisms takes those of mech_list in its order; without one, those
// that work whatever form passwords are stored in.
func (b *Backend) chooseMechanisms() error {
	able := b.able()
	for _, name := range words(strings.ToUpper(cmp.Or(b.file.Get("mech_list"), "plain login"))) {
		i := slices.IndexFunc(able, func(m sasl.Mechanism) bool { return m.Name == name })
		if i < 0 {
			b.warnings = append(b.warnings, b.file.fail("mech_list", "%s is not offered: Sekisho does not have it with pwcheck_method %s", name, b.methodNames()).Error())
			continue
		}
		b.mechanisms = append(b.mechanisms, able[i])
	}
	if len(b.mechanisms) == 0 {
		return b.file.fail("mech_list", "none of %q can be offered; plain and login can", b.file.Get("mech_list"))
	}
	return nil
}

func (b *Backend) methodNames() string {
	var names []string
	for _, c := range b.checks {
		names = append(names, c.name)
	}
	return strings.Join(names, " ")
}

// Warnings tells what of the file has no effect.
func (b *Backend) Warnings() []string { return b.warnings }

// Probe asks each method, for nobody, and returns why one does not answer.
func (b *Backend) Probe(ctx context.Context) error {
	var errs []error
	for _, c := range b.checks {
		if err := c.probe(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: pwcheck_method %s: %w", b.file.Path, c.name, err))
		}
	}
	return errors.Join(errs...)
}

// Close closes connections.
func (b *Backend) Close() error {
	if b.store == nil {
		return nil
	}
	return b.store.close()
}

// Mechanisms implements sasl.Backend.
func (b *Backend) Mechanisms(bool) ([]sasl.Mechanism, error) { return b.mechanisms, nil }

// RefuseMechanism implements sasl.Refuser: Postfix decodes the response before
// it asks Cyrus.
func (*Backend) RefuseMechanism(mech, initial string) sasl.Step {
	if _, reason := decode(initial); reason != "" {
		return failed(nobody, reason)
	}
	return failed(nobody, "no mechanism available", "Couldn't find mech "+mech)
}

// Start implements sasl.Backend.
func (b *Backend) Start(ctx context.Context, c sasl.Client, mech, initial string, hasInitial bool) (sasl.Exchange, sasl.Step) {
	if !hasInitial {
		initial = ""
	}
	var m mechanism
	l := login{backend: b, service: c.Service}
	switch name := strings.ToUpper(mech); name {
	case "PLAIN":
		m = &plain{l}
	case "LOGIN":
		m = &loginMech{login: l}
	case "CRAM-MD5":
		m = &cramMD5{login: l}
	case "DIGEST-MD5":
		m = &digestMD5{login: l}
	case "SCRAM-SHA-256":
		m = &scramSHA256{login: l}
	default:
		return nil, b.RefuseMechanism(mech, initial)
	}
	if !hasInitial {
		return &exchange{m}, m.first()
	}
	response, reason := decode(initial)
	if reason != "" {
		return nil, failed(nobody, reason)
	}
	step := m.next(ctx, response, true)
	if step.Kind != sasl.Challenge {
		return nil, step
	}
	return &exchange{m}, step
}

// exchange decodes for a mechanism.
type exchange struct{ mechanism }

// Next implements sasl.Exchange.
func (x *exchange) Next(ctx context.Context, response string) sasl.Step {
	decoded, reason := decode(response)
	if reason != "" {
		return failed(nobody, reason)
	}
	return x.next(ctx, decoded, false)
}

// nobody is the name in log lines before there is one.
const nobody = "(unavailable)"

// Reasons, in Cyrus's words.
const (
	reasonWrong    = "authentication failure"
	reasonProtocol = "bad protocol / cancel"
	reasonStep     = "another step is needed in authentication"
	reasonGeneric  = "generic failure"
)

// failed is a refusal; notes are what Cyrus logs with it.
func failed(user, reason string, notes ...string) sasl.Step {
	step := sasl.Step{Kind: sasl.Failed, User: user, UserKnown: true, Reason: reason}
	if reason == reasonGeneric {
		step.Kind = sasl.TempFailed
	}
	for _, n := range notes {
		step.Warnings = append(step.Warnings, "SASL authentication failure: "+n)
	}
	return step
}

func challenge(text string) sasl.Step {
	return sasl.Step{Kind: sasl.Challenge, Challenge: base64.StdEncoding.EncodeToString([]byte(text))}
}

// decode reads base64 as Cyrus does: what ends amidst a group of four "needs
// another step".
func decode(s string) (decoded []byte, reason string) {
	whole := len(s) - len(s)%4
	decoded, err := base64.StdEncoding.DecodeString(s[:whole])
	switch {
	case err != nil || strings.ContainsAny(s[:whole], "\r\n"):
		return nil, reasonProtocol
	case whole == len(s):
		return decoded, ""
	case whole > 0 && s[whole-1] == '=':
		return nil, reasonProtocol
	}
	return nil, reasonStep
}

// canonical is a login name as Cyrus sees it, without blanks around it and
// with smtpd_sasl_local_domain when it has no domain; false when it is empty.
func (b *Backend) canonical(name string) (string, bool) {
	if name == "" {
		return "", false
	}
	name = strings.TrimFunc(name, func(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' })
	if name != "" && b.o.LocalDomain != "" && !strings.Contains(name, "@") {
		name += "@" + b.o.LocalDomain
	}
	return name, true
}

// verify asks the methods in their order until one knows the password. err is
// of one that could not be asked, notes are lines for the log.
func (b *Backend) verify(ctx context.Context, user, password, service string) (ok bool, notes []string, err error) {
	for _, c := range b.checks {
		ok, note, askErr := c.ask(ctx, user, password, service)
		switch {
		case askErr != nil:
			err = askErr
			notes = append(notes, "SASL: "+c.name+": "+askErr.Error())
		case ok:
			return true, notes, nil
		case note != "":
			notes = append(notes, "SASL: "+c.name+": "+note)
		}
	}
	return false, notes, err
}
