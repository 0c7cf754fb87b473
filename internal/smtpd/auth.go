package smtpd

import (
	"context"
	"slices"
	"strings"

	"sekisho/internal/anvil"
	"sekisho/internal/mail"
	"sekisho/internal/maillog"
	"sekisho/internal/sasl"
)

// saslSettings are the parameters of authentication.
type saslSettings struct {
	enable, broken, header bool
	responseLimit          int
	service                string
	plain, overTLS         securityOptions
}

// securityOptions are the words of smtpd_sasl_security_options.
type securityOptions struct {
	noPlaintext, noActive, noDictionary, noAnonymous, forwardSecrecy, mutualAuth bool
}

func (r *settingsReader) sasl() saslSettings {
	return saslSettings{
		enable:        r.cfg.Bool("smtpd_sasl_auth_enable"),
		broken:        r.cfg.Bool("broken_sasl_auth_clients"),
		header:        r.cfg.Bool("smtpd_sasl_authenticated_header"),
		responseLimit: max(1, r.cfg.Int("smtpd_sasl_response_limit")),
		service:       r.cfg.Str("smtpd_sasl_service"),
		plain:         r.securityOptions("smtpd_sasl_security_options"),
		overTLS:       r.securityOptions("smtpd_sasl_tls_security_options"),
	}
}

func (r *settingsReader) securityOptions(param string) securityOptions {
	var o securityOptions
	for _, w := range r.cfg.Strings(param) {
		switch strings.ToLower(w) {
		case "noplaintext":
			o.noPlaintext = true
		case "noactive":
			o.noActive = true
		case "nodictionary":
			o.noDictionary = true
		case "noanonymous":
			o.noAnonymous = true
		case "forward_secrecy":
			o.forwardSecrecy = true
		case "mutual_auth":
			o.mutualAuth = true
		default:
			r.fail(param, "unknown security option %q", w)
		}
	}
	return o
}

// allow reports whether a mechanism has the properties that are asked for.
func (o securityOptions) allow(m sasl.Mechanism) bool {
	return !(o.noPlaintext && m.Plaintext || o.noActive && m.Active || o.noDictionary && m.Dictionary ||
		o.noAnonymous && m.Anonymous || o.forwardSecrecy && !m.ForwardSecrecy || o.mutualAuth && !m.MutualAuth)
}

// auth is what a session can authenticate with.
type auth struct {
	mechanisms []string // empty: authentication is off for now
	names      string   // as offered
	user       string   // whom the backend spoke of last, for log lines
}

func (a auth) active() bool { return len(a.mechanisms) > 0 }

// activateSASL finds out what the client can authenticate with in the session
// as it is, plaintext or encrypted. Without any mechanism the session ends, as
// Postfix's does; but a backend that cannot be asked now costs only the logins.
func (s *session) activateSASL() error {
	s.auth = auth{user: "(unavailable)"}
	if !s.set.sasl.enable || s.tls == nil && s.set.tls.authOnly {
		return nil
	}
	options := s.set.sasl.plain
	if s.tls != nil {
		options = s.set.sasl.overTLS
	}
	all, err := s.srv.o.SASL.Mechanisms(s.tls != nil)
	if err != nil {
		s.warn("SASL: %v", err)
	}
	for _, m := range all {
		if options.allow(m) && s.match(s.set.lists.saslMechanisms.MatchString(s.src, m.Name)) {
			s.auth.mechanisms = append(s.auth.mechanisms, m.Name)
		}
	}
	if !s.auth.active() && err != nil {
		return nil
	}
	if !s.auth.active() {
		s.log(maillog.LevelFatal, "no SASL authentication mechanisms")
		return errDone
	}
	s.auth.names = strings.Join(s.auth.mechanisms, " ")
	return nil
}

// resetAuth forgets who the client is.
func (s *session) resetAuth() { s.facts.SASLMethod, s.facts.SASLUsername = "", "" }

// authenticate is AUTH (RFC 4954).
func (s *session) authenticate(words []token) (ok bool, err error) {
	if rate, over := s.count(anvil.Auths, s.set.limits.auths); over {
		s.warn("AUTH command rate limit exceeded: %d from %s for service %s", rate, s.facts.NameAddr(), s.srv.o.Service)
		return s.say(mail.Reply{Code: 450, Status: "4.7.1", Text: "Error: too many AUTH commands from " + s.facts.ClientAddress})
	}
	switch {
	case s.heloMissing():
		return s.say(heloFirst)
	case !s.auth.active() || s.discard&noAUTH != 0:
		return s.say(mail.Reply{Code: 503, Status: "5.5.1", Text: "Error: authentication not enabled"})
	case s.tr.open:
		return s.say(inMail)
	case s.facts.SASLUsername != "":
		return s.say(mail.Reply{Code: 503, Status: "5.5.1", Text: "Error: already authenticated"})
	case len(words) < 2 || len(words) > 3:
		return s.say(mail.Reply{Code: 501, Status: "5.5.4", Text: "Syntax: AUTH mechanism"})
	}
	return s.exchange(words[1].text, words[2:])
}

// exchange holds the dialogue of challenges and responses.
func (s *session) exchange(mech string, initial []token) (ok bool, err error) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	x, step := s.startExchange(ctx, mech, initial)
	for step.Kind == sasl.Challenge {
		s.warnAll(step.Warnings)
		if err := s.reply(mail.Reply{Code: 334, Text: step.Challenge}); err != nil {
			return false, err
		}
		line, err := s.readLine(s.set.sasl.responseLimit)
		s.heard("(hidden)")
		if err != nil {
			return false, ended(err)
		}
		if !line.complete {
			return s.say(mail.Reply{Code: 500, Status: "5.5.6", Text: "SASL response limit exceeded"})
		}
		response := untilNUL(line.text)
		if response == "*" {
			s.warn("%s: SASL %s authentication aborted", s.facts.NameAddr(), printable(mech))
			return s.say(mail.Reply{Code: 501, Status: "5.7.0", Text: "Authentication aborted"})
		}
		step = x.Next(ctx, response)
	}
	s.warnAll(step.Warnings)
	return s.authenticated(mech, step)
}

func (s *session) startExchange(ctx context.Context, mech string, initial []token) (sasl.Exchange, sasl.Step) {
	first := ""
	if len(initial) > 0 {
		first = initial[0].text
	}
	if !slices.ContainsFunc(s.auth.mechanisms, func(m string) bool { return strings.EqualFold(m, mech) }) {
		return nil, sasl.Refuse(s.srv.o.SASL, mech, first)
	}
	c := sasl.Client{
		Address: s.facts.ClientAddress, ServerAddress: s.facts.ServerAddress,
		Service: s.set.sasl.service, TLS: s.tls != nil,
	}
	if s.tls != nil && strings.Contains(s.auth.names, "-PLUS") {
		c.ChannelBinding = sasl.ChannelBinding(s.tls.state, s.tls.leaf)
	}
	return s.srv.o.SASL.Start(ctx, c, mech, first, len(initial) > 0)
}

func (s *session) warnAll(lines []string) {
	for _, w := range lines {
		s.warn("%s", w)
	}
}

// authenticated takes the outcome of an exchange.
func (s *session) authenticated(mech string, step sasl.Step) (ok bool, err error) {
	if step.Kind == sasl.Done {
		s.facts.SASLMethod, s.facts.SASLUsername = printable(mech), printable(step.User)
		return s.say(mail.Reply{Code: 235, Status: "2.7.0", Text: "Authentication successful"})
	}
	reason := step.Reason
	if reason == "" {
		reason = "(reason unavailable)"
	}
	if step.UserKnown {
		s.auth.user = printable(step.User)
	}
	s.warn("%s: SASL %s authentication failed: %s, sasl_username=%s",
		s.facts.NameAddr(), short(printable(mech), 100), reason, short(s.auth.user, 100))
	if step.Kind == sasl.TempFailed {
		return s.say(mail.Reply{Code: 454, Status: "4.7.0", Text: "Temporary authentication failure: " + reason})
	}
	return s.say(mail.Reply{Code: 535, Status: "5.7.8", Text: "Error: authentication failed: " + reason})
}
