package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// The variants of the site that ask policy services. On the second one every
// port speaks TLS from the start.
const (
	policySite = "policy"
	tlsSite    = "tls"
)

// policyService answers policy requests of the mail server and keeps them. What
// it answers is in the request: policy_context is a letter and the name of an
// attribute, "p recipient", whose value says "p-WORD", and WORD is one of
// policyReplies; else it is DUNNO.
type policyService struct {
	mu   sync.Mutex
	got  []string
	last map[string]string // the request before, in this dialogue
}

// policyReplies are answers as they go over the line. One that ends with "!" is
// the last on its connection; "?" is silence.
var policyReplies = map[string]string{
	"ok":         "action=OK\n\n",
	"reject":     "action=REJECT go away\n\n",
	"bare":       "action=reject\n\n",
	"code":       "action=521 5.7.9 never\n\n",
	"defer":      "action=DEFER later\n\n",
	"dip":        "action=DEFER_IF_PERMIT Service temporarily unavailable\n\n",
	"dir":        "action=DEFER_IF_REJECT 4.7.1 who knows\n\n",
	"prepend":    "action=PREPEND X-Policy: seen\n\n",
	"hold":       "action=HOLD look at it\n\n",
	"info":       "action=INFO noted\n\n",
	"class":      "action=c_strict\n\n",
	"list":       "action=reject_unauth_destination, permit\n\n",
	"unknown":    "action=frobnicate now\n\n",
	"table":      "action=check_client_access static:ok\n\n",
	"upper":      "Action=REJECT\n\n",
	"more":       "x=1\naction=REJECT first\naction=OK\ny\n\n",
	"noaction":   "answer=OK\n\n",
	"novalue":    "action\n\n",
	"empty":      "action=\n\n",
	"blank":      "\n",
	"cutname":    "acti!",
	"cutvalue":   "action=OK!",
	"noend":      "action=OK\n!",
	"hangup":     "!",
	"last":       "action=DUNNO\n\n!",
	"latin":      "action=REJECT caf\xe9\n\n",
	"umlaut":     "action=REJECT caf\u00e9\n\n",
	"cr":         "action=REJECT with CR\r\n\n",
	"discard":    "action=DISCARD unseen\n\n",
	"filter":     "action=FILTER discard:x\n\n",
	"hanguptext": "action=HANGUP\n\n",
	"silent":     "?",
}

// policyAttributes are the attributes of a request to Postfix 3.7.11's policy
// services, in order. Later ones have more, at and near the end.
var policyAttributes = strings.Fields(`request protocol_state protocol_name client_address client_name client_port
	reverse_client_name server_address server_port helo_name sender recipient recipient_count queue_id instance size
	etrn_domain stress sasl_method sasl_username sasl_sender ccert_subject ccert_issuer ccert_fingerprint
	ccert_pubkey_fingerprint encryption_protocol encryption_cipher encryption_keysize policy_context`)

var (
	laterAttributes = []string{"tls_sni", "compatibility_level", "mail_version"}
	policyWord      = regexp.MustCompile(`\b([a-z])-([a-z]+)`)
)

// listenPolicy serves the service on a port and a socket in the queue directory.
func listenPolicy() (*policyService, error) {
	p := &policyService{}
	socket := "/var/spool/postfix/policyd/socket"
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return nil, err
	}
	for _, at := range [][2]string{{"tcp", "127.0.0.1:10023"}, {"unix", socket}} {
		l, err := net.Listen(at[0], at[1])
		if err != nil {
			return nil, err
		}
		go p.accept(l)
	}
	return p, os.Chmod(socket, 0o666)
}

func (p *policyService) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go p.session(conn)
	}
}

func (p *policyService) session(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		names, values, err := readRequest(r)
		if err != nil {
			return
		}
		p.keep(names, values)
		reply := "action=DUNNO\n\n"
		letter, attribute, _ := strings.Cut(values["policy_context"], " ")
		if f := policyWord.FindStringSubmatch(values[attribute]); f != nil && f[1] == letter {
			reply = policyReplies[f[2]]
		}
		reply, last := strings.CutSuffix(reply, "!")
		if reply == "?" {
			conn.SetReadDeadline(time.Now().Add(Patience))
			io.Copy(io.Discard, r)
			return
		}
		if _, err := io.WriteString(conn, reply); err != nil || last {
			return
		}
	}
}

func readRequest(r *bufio.Reader) (names []string, values map[string]string, err error) {
	values = map[string]string{}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, nil, err
		}
		if line == "\n" {
			return names, values, nil
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		names, values[name] = append(names, name), value
	}
}

// keep writes a request down: the attributes that say something, or something
// else than in the dialogue's request before.
func (p *policyService) keep(names []string, values map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	values["client_port"] = "<PORT>"
	var said []string
	for _, n := range names {
		v := values[n]
		if n == "request" || slices.Contains(laterAttributes, n) ||
			p.last == nil && (v == "" || v == "0") || p.last != nil && v == p.last[n] {
			continue
		}
		said = append(said, n+"="+escape([]byte(v)))
	}
	line := strings.Join(said, "; ")
	if p.last != nil {
		line = strings.TrimSpace("... " + line)
	}
	p.last = values
	known := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(laterAttributes, n) })
	if !slices.Equal(known, policyAttributes) {
		line = fmt.Sprintf("(unexpected attributes: %q) %s", names, line)
	}
	p.got = append(p.got, line)
}

// take returns, and forgets, the requests since the last call.
func (p *policyService) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got, p.last = nil, nil
	return got
}

var instance = regexp.MustCompile(`\binstance=([0-9a-f.]+)`)

// maskInstances numbers the instances of requests, so that it stays visible
// which of them belong together.
func maskInstances(requests []string) []string {
	var seen []string
	for i, r := range requests {
		requests[i] = instance.ReplaceAllStringFunc(r, func(s string) string {
			n := slices.Index(seen, s)
			if n < 0 {
				n = len(seen)
				seen = append(seen, s)
			}
			return fmt.Sprintf("instance=<INSTANCE%d>", n+1)
		})
	}
	return requests
}
