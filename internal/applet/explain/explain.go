// Package explain is "sekisho explain": it tells what the server of a
// configuration directory would do with a session that has not happened, and
// which restriction decides. The facts come from the command line; tables are
// the real ones; the DNS is the real one too, or a zone file.
//
// It prints aligned columns at a terminal, in colour, the same in plain lines
// elsewhere, and JSON with --json. It sends nothing and changes nothing. The
// evaluation is package restrict's, the explanation package explain's.
package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/dns"
	"sekisho/internal/evidence"
	"sekisho/internal/explain"
	"sekisho/internal/mail"
	"sekisho/internal/policyd"
	"sekisho/internal/site"
	"sekisho/internal/verify"
	"sekisho/internal/zone"
)

// Env is what the command gets from the program; kong binds it to Run.
type Env struct {
	Context context.Context
	Out     *os.File
	Clock   clock.Clock
}

// Cmd is "sekisho explain".
type Cmd struct {
	Config      string   `short:"c" default:"/etc/postfix" env:"MAIL_CONFIG" placeholder:"DIR" help:"Folder of main.cf and master.cf."`
	Client      string   `required:"" placeholder:"ADDRESS" help:"Client's IP address."`
	Name        *string  `placeholder:"HOST" help:"Client's verified host name, or unknown; looked up if left out."`
	ReverseName *string  `placeholder:"HOST" help:"Name that the client's address points to; that of --name if left out."`
	Helo        string   `placeholder:"HOST" help:"Name given with EHLO; none if left out."`
	From        string   `required:"" placeholder:"SENDER" help:"Envelope sender; <> for none."`
	To          []string `required:"" placeholder:"RECIPIENT" sep:"none" help:"Envelope recipient; may be given again."`
	SASLUser    string   `name:"sasl-user" placeholder:"LOGIN" help:"Login of the client."`
	TLS         bool     `name:"tls" help:"The session is encrypted."`
	Service     string   `xor:"service" placeholder:"NAME" help:"Service of master.cf, such as submission; the one for port 25 if left out."`
	Port        string   `xor:"service" placeholder:"PORT" help:"Service of master.cf by its port."`
	Zone        string   `xor:"dns" placeholder:"FILE" help:"Take DNS answers from a zone file."`
	NoDNS       bool     `name:"no-dns" xor:"dns" help:"Ask no DNS; tell what its answers would decide."`
	Policy      string   `placeholder:"ACTION" help:"What policy services answer, such as DUNNO; ask to ask them, which they may remember. Left out: tell what their answers would decide."`
	JSON        bool     `name:"json" help:"Print JSON."`
}

// result is what is printed for one recipient.
type result struct {
	Service   string `json:"service"`
	Recipient string `json:"recipient"`
	explain.Report
	// Problems are what is wrong with the configuration: the server would not
	// start, and the explanation is what it would do if it did.
	Problems []string `json:"problems,omitempty"`
}

// Run explains the session for each recipient.
func (c *Cmd) Run(e *Env) error {
	o := site.Options{Clock: e.Clock, Log: slog.New(slog.DiscardHandler)}
	s, err := site.Load(c.Config, o)
	if err != nil {
		return err
	}
	defer s.Close()
	service, err := c.service(s)
	if err != nil {
		return err
	}
	w, err := c.world(s, o)
	if err != nil {
		return err
	}
	defer w.close()
	facts, err := c.facts(e.Context, service, w)
	if err != nil {
		return err
	}
	known := &knowledge{config: s.Config, now: e.Clock.Now()}
	var results []result
	services := policyd.New(service.Program.PolicyServices(), policyd.Options{Dir: service.Config.Str("queue_directory"), Clock: e.Clock})
	defer services.Close()
	src := evidence.NewSession(e.Context, &evidence.World{
		Query: w.query, Host: w.names.Host, Lookup: s.Tables.Lookup, Policy: services.Ask, Clock: e.Clock,
	})
	for _, to := range c.To {
		f := facts
		f.Recipient, f.RecipientKnown = address(to), true
		results = append(results, result{name(service), f.Recipient, explain.Session(service.Program, f, c.source(src, known)), problems(s)})
	}
	if known.err != nil {
		return fmt.Errorf("what the server knows about addresses: %w", known.err)
	}
	if c.JSON {
		enc := json.NewEncoder(e.Out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(results)
	}
	return newPrinter(e.Out, c.Config).print(facts, results)
}

func problems(s *site.Site) []string {
	var out []string
	for _, p := range s.Problems {
		if p.Fatal {
			out = append(out, p.String())
		}
	}
	return out
}

// source asks whom it may: not the DNS where nobody is to be asked, policy
// services only on request. Of addresses to verify it knows what the server has
// found out, and sends no probe. It does not sleep.
func (c *Cmd) source(s *evidence.Session, known *knowledge) evidence.Source {
	return evidence.SourceFunc(func(q evidence.Question) evidence.Answer {
		switch q.Kind {
		case evidence.DNS, evidence.Host:
			if c.NoDNS {
				return evidence.Answer{}
			}
		case evidence.Sleep:
			return evidence.Answer{Status: evidence.Found}
		case evidence.Policy:
			return c.policy(s, q)
		case evidence.Verify:
			return known.answer(q.Arg)
		}
		return s.Ask(q)
	})
}

// knowledge is what the server has found out about addresses, read when it is
// needed.
type knowledge struct {
	config  *config.Config
	now     time.Time
	read    bool
	entries map[string]verify.Entry
	err     error
}

// answer is the answer about an address; none when a probe would have to find it
// out.
func (k *knowledge) answer(addr string) evidence.Answer {
	if !k.read {
		k.read = true
		k.entries, k.err = verify.Known(k.config, k.now)
	}
	e, ok := k.entries[verify.Key(addr)]
	if !ok {
		return evidence.Answer{}
	}
	return evidence.Answer{Status: evidence.Found, Value: e.Status.String(), Reason: e.Text}
}

func (c *Cmd) policy(s *evidence.Session, q evidence.Question) evidence.Answer {
	switch c.Policy {
	case "":
		return evidence.Answer{}
	case "ask":
		return s.Ask(q)
	}
	return evidence.Answer{Status: evidence.Found, Value: c.Policy}
}

// service finds the smtpd service to speak of.
func (c *Cmd) service(s *site.Site) (site.Service, error) {
	want := c.Service + c.Port
	if want == "" {
		if v, ok := s.Service("25"); ok {
			return v, nil
		}
		if len(s.Services) > 0 {
			return s.Services[0], nil
		}
		return s.Main, nil
	}
	if v, ok := s.Service(want); ok {
		return v, nil
	}
	var names []string
	for _, v := range s.Services {
		names = append(names, v.Entry.Name)
	}
	return site.Service{}, fmt.Errorf("%s/master.cf: no smtpd service %s; there is: %s", s.Config.Dir, want, strings.Join(names, " "))
}

func name(s site.Service) string {
	if s.Entry.Name == "" {
		return "main.cf"
	}
	return s.Entry.Name
}

// world answers for the DNS.
type world struct {
	query func(ctx context.Context, name, typ string) dns.Answer
	names *dns.System
	close func()
}

func (c *Cmd) world(s *site.Site, o site.Options) (*world, error) {
	if c.Zone != "" {
		z, err := zone.Load(c.Zone)
		if err != nil {
			return nil, err
		}
		return &world{z.Query, dns.NewSystem(z.Query, ""), func() {}}, nil
	}
	if c.NoDNS {
		nobody := func(context.Context, string, string) dns.Answer { return dns.Answer{Outcome: dns.Timeout} }
		return &world{nobody, dns.NewSystem(nobody, ""), func() {}}, nil
	}
	r, err := s.DNS(o)
	if err != nil {
		return nil, err
	}
	return &world{r.Query, r.System, r.Close}, nil
}

// facts puts the session together.
func (c *Cmd) facts(ctx context.Context, s site.Service, w *world) (mail.Facts, error) {
	addr, err := netip.ParseAddr(strings.Trim(c.Client, "[]"))
	if err != nil {
		return mail.Facts{}, fmt.Errorf("--client: %q is no IP address", c.Client)
	}
	f := mail.Facts{
		ClientAddress: addr.Unmap().String(), ClientPort: "25025",
		HeloName: c.Helo, ProtocolName: "SMTP", SASLUsername: c.SASLUser,
		SenderKnown: true, Sender: address(c.From), ServerPort: site.Port(s.Entry),
	}
	if c.Helo != "" {
		f.ProtocolName = "ESMTP"
	}
	if c.SASLUser != "" {
		f.SASLMethod = "PLAIN"
	}
	if c.TLS {
		f.EncryptionProtocol, f.EncryptionCipher, f.EncryptionKeysize = "TLSv1.3", "TLS_AES_256_GCM_SHA384", 256
	}
	c.clientName(ctx, &f, addr.Unmap(), s, w)
	return f, nil
}

// clientName takes the names given, or looks them up as the server does.
func (c *Cmd) clientName(ctx context.Context, f *mail.Facts, addr netip.Addr, s site.Service, w *world) {
	switch {
	case c.Name != nil:
		f.ClientName, f.ClientNameStatus = given(*c.Name)
		f.ReverseClientName, f.ReverseClientNameStatus = f.ClientName, f.ClientNameStatus
	case c.NoDNS || !s.Config.Bool("smtpd_peername_lookup"):
		f.ClientName, f.ClientNameStatus = given("unknown")
		f.ReverseClientName, f.ReverseClientNameStatus = given("unknown")
	default:
		n := w.names.ClientName(ctx, addr)
		f.ClientName, f.ClientNameStatus = n.Name, n.Status
		f.ReverseClientName, f.ReverseClientNameStatus = n.Reverse, n.ReverseStatus
	}
	if c.ReverseName != nil {
		f.ReverseClientName, f.ReverseClientNameStatus = given(*c.ReverseName)
	}
}

func given(name string) (string, mail.NameStatus) {
	if name == "" || name == "unknown" {
		return "unknown", mail.NamePerm
	}
	return name, mail.NameOK
}

// address takes the angle brackets off and reads quotes.
func address(s string) string {
	return mail.Unquote(strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">"))
}
