//go:build linux

package addresses

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

// question is one for trivial-rewrite: of rewriting when it has a rule, else of
// resolving. Addresses are in the form that the daemon takes: external for
// rewriting, internal for resolving.
type question struct {
	Rule    octets // local or remote
	Sender  octets
	Address octets
}

func ask(socket string, questions []question) ([][]attr, error) {
	p, err := dial(socket)
	if err != nil {
		log, _ := os.ReadFile("/var/log/mail.log")
		return nil, fmt.Errorf("%w\n%s", err, log[max(0, len(log)-1000):])
	}
	defer p.Close()
	var out [][]attr
	for _, q := range questions {
		a, err := p.answer(q)
		if err != nil {
			log, _ := os.ReadFile("/var/log/mail.log")
			return nil, fmt.Errorf("%q: %w\n%s", q, err, log[max(0, len(log)-1000):])
		}
		out = append(out, a)
	}
	return out, nil
}

// answer asks a question. What is to be resolved is rewritten first, as all of
// Postfix's daemons do.
func (p *peer) answer(q question) ([]attr, error) {
	if q.Rule != "" {
		return p.exchange(attr{"request", "rewrite"}, attr{"rule", q.Rule}, attr{"address", q.Address})
	}
	addr := string(q.Address)
	if addr != "" {
		a, err := p.exchange(attr{"request", "rewrite"}, attr{"rule", "local"}, attr{"address", octets(mail.Quote(addr))})
		if err != nil {
			return nil, err
		}
		addr = mail.Unquote(value(a, "address"))
	}
	return p.exchange(attr{"request", "resolve"}, attr{"sender", q.Sender}, attr{"address", octets(addr)})
}

func (p *peer) exchange(list ...attr) ([]attr, error) {
	if err := p.send(list...); err != nil {
		return nil, err
	}
	return p.receive()
}

// Bits of an answer's flags.
const (
	flagRouted = 1 << 1
	flagError  = 1 << 2
	flagFail   = 1 << 3
	flagLocal  = 1 << 8 // and those after it the other classes
)

// show tells an answer as a line; how our own is told is below.
func show(q question, list []attr) string {
	if q.Rule != "" {
		return value(list, "address")
	}
	flags, _ := strconv.Atoi(value(list, "flags"))
	switch {
	case flags&flagError != 0:
		return "invalid"
	case flags&flagFail != 0:
		return "failed"
	}
	s := value(list, "recipient") + " " + value(list, "transport") + ":" + value(list, "nexthop")
	for i, c := range []string{"local", "virtual alias", "virtual mailbox", "relay", "default"} {
		if flags&(flagLocal<<i) != 0 {
			s += " " + c
		}
	}
	if flags&flagRouted != 0 {
		s += " routed"
	}
	return s
}

func ours(r *rewrite.Resolver, remote string, src evidence.Source, q question) string {
	switch q.Rule {
	case "remote":
		r = r.Remote(remote)
		fallthrough
	case "local":
		return r.RewriteExternal(string(q.Address))
	}
	res := r.Resolve(src, string(q.Sender), string(q.Address))
	switch {
	case res.Invalid:
		return "invalid"
	case res.Failed:
		return "failed"
	}
	s := res.Recipient + " " + res.Transport + ":" + res.Nexthop + " " + res.Class.String()
	if res.Routed {
		s += " routed"
	}
	return s
}

// TestResolver asks trivial-rewrite and package rewrite the same questions.
func TestResolver(t *testing.T) {
	g, variants, cases := setUp(t)
	files := g.files(variants, rewriteParams)
	theirs := start(t, files)
	mine := load(t, files)
	for v := range variants {
		var r reply
		req := request{Service: fmt.Sprint("rewrite", v)}
		for range cases {
			req.Questions = append(req.Questions, g.question())
		}
		if err := theirs.Call(req, &r); err != nil {
			t.Fatal(err)
		}
		resolver, cfg := mine.resolver(t, v)
		wrong, remote := 0, cfg.Str("remote_header_rewrite_domain")
		for i, q := range req.Questions {
			if !cfg.Bool("smtputf8_enable") && strings.Contains(string(q.Address+q.Sender), "Ü") {
				continue // our tables fold it to "ü" even so
			}
			if got, want := ours(resolver, remote, mine.src, q), show(q, r.Answers[i]); got != want && wrong < 5 {
				t.Errorf("variant %d: %+q\nPostfix: %q\nSekisho: %q", v, q, want, got)
				wrong++
			}
		}
		if wrong > 0 {
			t.Logf("variant %d was\n%s", v, mine.overrides(fmt.Sprint("rewrite", v), files))
		}
	}
}
