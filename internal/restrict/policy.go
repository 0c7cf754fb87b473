package restrict

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sekisho/internal/config"
	"sekisho/internal/evidence"
)

// PolicyService is a policy service that the restriction lists name
// (SMTPD_POLICY_README): the parameters smtpd_policy_service_*, with the
// options of the "{ endpoint, name = value, ... }" form.
type PolicyService struct {
	Name      string // as written after check_policy_service; the Name of its questions
	Transport string // inet, unix or local
	Endpoint  string // host:port, port, or the path of a socket

	Timeout, MaxIdle, MaxTTL, RetryDelay time.Duration
	RequestLimit                         int // requests of one connection; 0 is no limit
	TryLimit                             int // at least 1

	DefaultAction string // what holds when it does not answer
	Context       string // sent as policy_context
}

// builtinPolicyAction takes the place of a default action that itself asks a
// policy service which does not answer.
const builtinPolicyAction = "451 4.3.5 Server configuration problem"

// PolicyServices returns the policy services of the program by name.
func (p *Program) PolicyServices() map[string]PolicyService { return p.policies }

// What mends a service that cannot be used.
const (
	mendEndpoint = "write transport:endpoint, as in unix:private/policy or inet:127.0.0.1:10023"
	mendOptions  = "an option is name=value without blanks or { name = value }; there are timeout, max_idle, max_ttl, " +
		"request_limit, try_limit, retry_delay, default_action and policy_context"
)

// policyProblem is what is wrong with a service, if there is something.
func (p *Program) policyProblem(cfg *config.Config, it item, param string) []Problem {
	if !strings.EqualFold(it.text, "check_policy_service") || it.op != opPlain {
		return nil
	}
	err := p.policyService(cfg, it.arg)
	if err == nil {
		return nil
	}
	mend := mendEndpoint
	if strings.HasPrefix(it.arg, "{") && !strings.Contains(err.Error(), "service") {
		mend = mendOptions
	}
	return []Problem{{Pos: it.pos, Param: param, What: err.Error(), Mend: mend}}
}

// policyService makes a service known. The error says what is wrong with it.
func (p *Program) policyService(cfg *config.Config, name string) error {
	if _, known := p.policies[name]; known {
		return nil
	}
	s := PolicyService{
		Name:          name,
		Timeout:       cfg.Duration("smtpd_policy_service_timeout"),
		MaxIdle:       cfg.Duration("smtpd_policy_service_max_idle"),
		MaxTTL:        cfg.Duration("smtpd_policy_service_max_ttl"),
		RetryDelay:    cfg.Duration("smtpd_policy_service_retry_delay"),
		RequestLimit:  cfg.Int("smtpd_policy_service_request_limit"),
		TryLimit:      cfg.Int("smtpd_policy_service_try_limit"),
		DefaultAction: cfg.Str("smtpd_policy_service_default_action"),
		Context:       cfg.Str("smtpd_policy_service_policy_context"),
	}
	endpoint := name
	if strings.HasPrefix(name, "{") {
		words, err := braced(name)
		if err != nil {
			return fmt.Errorf("policy service syntax error: %w", err)
		}
		if len(words) == 0 {
			return fmt.Errorf("empty policy service: %q", name)
		}
		endpoint = words[0]
		if err := s.options(words[1:]); err != nil {
			return err
		}
	}
	var ok bool
	s.Transport, s.Endpoint, ok = strings.Cut(endpoint, ":")
	if !ok || s.Transport == "" || s.Endpoint == "" {
		return fmt.Errorf("need service transport:endpoint instead of %q", endpoint)
	}
	if s.Transport != "inet" && s.Transport != "unix" && s.Transport != "local" {
		return fmt.Errorf("invalid transport name: %s in service: %s", s.Transport, endpoint)
	}
	p.policies[name] = s
	return nil
}

// options applies "name = value" settings of one service.
func (s *PolicyService) options(words []string) error {
	for _, w := range words {
		name, value, err := nameValue(w)
		if err != nil {
			return fmt.Errorf("malformed option: %w: \"...%s...\"", err, w)
		}
		if err := s.option(name, value); err != nil {
			return err
		}
	}
	return nil
}

// option sets what main.cf sets for all services with smtpd_policy_service_NAME.
func (s *PolicyService) option(name, value string) error {
	switch "smtpd_policy_service_" + name {
	case "smtpd_policy_service_default_action":
		return textOption(&s.DefaultAction, name, value)
	case "smtpd_policy_service_policy_context":
		return textOption(&s.Context, name, value)
	case "smtpd_policy_service_request_limit":
		return numberOption(&s.RequestLimit, 0, name, value)
	case "smtpd_policy_service_try_limit":
		return numberOption(&s.TryLimit, 1, name, value)
	case "smtpd_policy_service_timeout":
		return timeOption(&s.Timeout, name, value)
	case "smtpd_policy_service_max_idle":
		return timeOption(&s.MaxIdle, name, value)
	case "smtpd_policy_service_max_ttl":
		return timeOption(&s.MaxTTL, name, value)
	case "smtpd_policy_service_retry_delay":
		return timeOption(&s.RetryDelay, name, value)
	}
	return fmt.Errorf("unknown option: \"%s = %s\"", name, value)
}

func textOption(to *string, name, value string) error {
	if value == "" {
		return fmt.Errorf("bad string length 0 < 1: %s =", name)
	}
	*to = value
	return nil
}

func numberOption(to *int, least int, name, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil {
		return fmt.Errorf("bad numerical configuration: %s = %s", name, value)
	}
	if n < least {
		return fmt.Errorf("invalid %s parameter value %d < %d", name, n, least)
	}
	*to = n
	return nil
}

func timeOption(to *time.Duration, name, value string) error {
	d, err := config.ParseTime(value, 's')
	if err != nil {
		return fmt.Errorf("%s: bad time value or unit: %s", name, value)
	}
	if d < time.Second {
		return fmt.Errorf("invalid %s: %s (min 1s)", name, value)
	}
	*to = d
	return nil
}

// evalPolicy asks a policy service and does what it says, as if an access
// table had said it. Without an answer the service's default action holds.
func evalPolicy(r *run, c call) status {
	s, known := r.p.policies[c.it.arg]
	if !known { // what is wrong with it was found when the list was compiled
		r.warnf("policy service %s cannot be used", c.it.arg)
		return r.serverError()
	}
	a := r.ask(evidence.Question{Kind: evidence.Policy, Name: s.Name, Arg: r.policyRequest(&s)},
		evidence.Answer{Status: evidence.Found, Value: "DUNNO"})
	l := &lookup{call: c, table: s.Name, datum: "policy query"}
	if a.Status != evidence.Found {
		return r.policyDefault(l, &s)
	}
	if r.p.set.smtputf8 && !utf8.ValidString(a.Value) {
		r.warnf("malformed UTF-8 in policy server %s response: \"%s\"", s.Name, a.Value)
		return r.policyDefault(l, &s)
	}
	return r.action(l, a.Value)
}

// policyDefault does what holds without an answer. A default action that asks
// another silent service does not get to say what holds then.
func (r *run) policyDefault(l *lookup, s *PolicyService) status {
	r.policyDepth++
	defer func() { r.policyDepth-- }()
	if r.policyDepth > 1 {
		return r.action(l, builtinPolicyAction)
	}
	return r.action(l, s.DefaultAction)
}

// policyRequest is what a policy service is told: the attributes of current
// Postfix in its order.
func (r *run) policyRequest(s *PolicyService) string {
	f, set := r.f, &r.p.set
	var b strings.Builder
	add := func(name, value string) { b.WriteString(name + "=" + value + "\n") }
	add("request", "smtpd_access_policy")
	state := f.ProtocolState
	if state == "BDAT" {
		state = "DATA"
	}
	add("protocol_state", state)
	add("protocol_name", f.ProtocolName)
	add("client_address", f.ClientAddress)
	add("client_name", f.ClientName)
	add("client_port", f.ClientPort)
	add("reverse_client_name", f.ReverseClientName)
	add("server_address", f.ServerAddress)
	add("server_port", f.ServerPort)
	add("helo_name", f.HeloName)
	add("sender", r.mailFrom())
	add("recipient", r.rcptTo())
	count := 0
	if state == "DATA" || state == "END-OF-MESSAGE" {
		count = f.RecipientCount
	}
	add("recipient_count", strconv.Itoa(count))
	add("queue_id", f.QueueID)
	add("instance", f.Instance)
	add("size", strconv.FormatInt(f.Size, 10))
	add("etrn_domain", f.ETRNDomain)
	add("stress", set.stress)
	add("sasl_method", f.SASLMethod)
	add("sasl_username", f.SASLUsername)
	add("sasl_sender", f.SASLSender)
	r.certificateAttributes(add)
	add("policy_context", s.Context)
	add("compatibility_level", set.compatibilityLevel)
	add("mail_version", set.mailVersion)
	return b.String() + "\n"
}

// certificateAttributes tells of TLS. The names in a certificate count only if
// somebody trusted vouches for them; a fingerprint needs no voucher.
func (r *run) certificateAttributes(add func(name, value string)) {
	f := r.f
	subject, issuer := "", ""
	if f.CcertTrusted {
		subject, issuer = xtext(f.CcertSubject), xtext(f.CcertIssuer)
	}
	add("ccert_subject", subject)
	add("ccert_issuer", issuer)
	add("ccert_fingerprint", f.CcertFingerprint)
	add("ccert_pubkey_fingerprint", f.CcertPubkeyFingerprint)
	add("encryption_protocol", f.EncryptionProtocol)
	add("encryption_cipher", f.EncryptionCipher)
	add("encryption_keysize", strconv.Itoa(f.EncryptionKeysize))
	add("tls_sni", f.TLSSNI)
}

// xtext encodes what is no printable ASCII, and "+". Unlike the xtext of SMTP
// parameters (RFC 3461) it leaves "=" alone.
func xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '+' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// evalSleep waits, as long as it is a number.
func evalSleep(r *run, c call) status {
	r.ask(evidence.Question{Kind: evidence.Sleep, Arg: c.it.arg}, evidence.Answer{Status: evidence.Found})
	return dunno
}
