package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"sekisho/internal/dns"
	"sekisho/internal/zone"
)

// Where the peers listen. Nothing listens at deadPort.
const (
	policyPort    = "127.0.0.1:9998"
	tcpTablePort  = "127.0.0.1:9997"
	socketmapPort = "127.0.0.1:9996"
	deadPort      = "127.0.0.1:9"
)

// startPeers starts the servers that both mail servers ask: the same answers to
// the same questions.
func startPeers(w *world) error {
	if err := serveZone(w.Zone); err != nil {
		return err
	}
	for addr, talk := range map[string]func(net.Conn){
		policyPort:    talkPolicy,
		tcpTablePort:  func(c net.Conn) { talkTCPTable(c, entries(w.Files["tcp"])) },
		socketmapPort: func(c net.Conn) { talkSocketmap(c, entries(w.Files["socketmap"])) },
	} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		go accept(l, talk)
	}
	return nil
}

// serveZone answers DNS questions. Answers may not be kept: what a server asks
// twice should not depend on when.
func serveZone(lines []string) error {
	z, err := zone.Parse("zone", strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		return err
	}
	_, err = dns.Serve("127.0.0.1:53", func(name, typ string) dns.Reply {
		r := z.Reply(name, typ)
		r.NegativeTTL = 0
		for i := range r.Records {
			r.Records[i].TTL = 0
		}
		return r
	})
	return err
}

// startAuth listens at the sockets of the password and policy servers.
func startAuth(auth, policy string) error {
	for path, talk := range map[string]func(net.Conn){auth: talkAuth, policy: talkPolicy} {
		l, err := net.Listen("unix", path)
		if err != nil {
			return err
		}
		if err := os.Chmod(path, 0o666); err != nil {
			return err
		}
		go accept(l, talk)
	}
	return nil
}

func accept(l net.Listener, talk func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			talk(conn)
		}()
	}
}

// talkAuth is Dovecot's authentication protocol: a user's password is his name.
func talkAuth(conn net.Conn) {
	fmt.Fprint(conn, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n")
	users := map[string]string{} // by request, of LOGIN
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		f := strings.Split(lines.Text(), "\t")
		if len(f) < 2 || f[0] != "AUTH" && f[0] != "CONT" {
			continue
		}
		_, data, given := strings.Cut(lines.Text(), "resp=")
		if f[0] == "CONT" {
			data, given = f[len(f)-1], true
		}
		text, err := base64.StdEncoding.DecodeString(data)
		switch {
		case given && err != nil:
			fmt.Fprintf(conn, "FAIL\t%s\treason=Invalid base64 data\n", f[1])
		case !given && f[2] == "LOGIN":
			users[f[1]] = ""
			fmt.Fprintf(conn, "CONT\t%s\tVXNlcm5hbWU6\n", f[1])
		case !given:
			fmt.Fprintf(conn, "CONT\t%s\t\n", f[1])
		default:
			answerAuth(conn, f[1], string(text), users)
		}
	}
}

// answerAuth answers a response, which of LOGIN is the name or the password.
func answerAuth(conn net.Conn, id, text string, users map[string]string) {
	if user, login := users[id]; login && user == "" {
		users[id] = text
		fmt.Fprintf(conn, "CONT\t%s\tUGFzc3dvcmQ6\n", id)
		return
	} else if login {
		text = "\x00" + user + "\x00" + text
	}
	parts := strings.Split(text, "\x00")
	if len(parts) == 3 && parts[1] == parts[2] && parts[1] != "" {
		fmt.Fprintf(conn, "OK\t%s\tuser=%s\n", id, parts[1])
		return
	}
	fmt.Fprintf(conn, "FAIL\t%s\n", id)
}

// policyActions are what the policy server answers with; one without action= is
// no answer.
var policyActions = []string{
	"action=DUNNO", "action=DUNNO", "action=DUNNO", "action=OK", "action=REJECT", "action=reject policy says so", "action=DEFER_IF_PERMIT",
	"action=defer_if_reject 4.7.9 later", "action=450 4.7.1 greylisted", "action=521 5.7.1 go away", "action=PREPEND X-Policy: yes",
	"action=reject_unknown_sender_domain, permit", "action=WARN noticed", "action=strict", "action=", "action=nonsense", "action=INFO",
	"action=permit_auth_destination", "action=warn_if_reject reject", "answer=yes", "action=HOLD", "action=DISCARD", "extra=1\naction=DUNNO",
}

// talkPolicy is the policy delegation protocol: the answer depends on what the
// request is about, and on nothing that differs from run to run.
func talkPolicy(conn net.Conn) {
	in := bufio.NewReader(conn)
	h := fnv.New32a()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch name, _, _ := strings.Cut(line, "="); name {
		case "client_address", "client_name", "helo_name", "sender", "recipient", "protocol_state", "protocol_name", "sasl_username",
			"reverse_client_name", "recipient_count", "policy_context", "etrn_domain", "sasl_method":
			io.WriteString(h, line)
		case "\n":
			action := policyActions[h.Sum32()%uint32(len(policyActions))]
			h.Reset()
			fmt.Fprintf(conn, "%s\n\n", action)
		}
	}
}

// entries reads a table's text.
func entries(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, twice := m[key]; !twice {
			m[strings.ToLower(key)] = value
		}
	}
	return m
}

// talkTCPTable is tcp_table(5). A value that begins with "!" is an error.
func talkTCPTable(conn net.Conn, table map[string]string) {
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		key, _ := strings.CutPrefix(lines.Text(), "get ")
		value, found := table[strings.ToLower(key)]
		switch text, failed := strings.CutPrefix(value, "!"); {
		case !found:
			fmt.Fprint(conn, "500 nothing\n")
		case failed:
			fmt.Fprintf(conn, "400 %s\n", strings.ReplaceAll(text, " ", "%20"))
		default:
			fmt.Fprintf(conn, "200 %s\n", strings.ReplaceAll(value, " ", "%20"))
		}
	}
}

// talkSocketmap is socketmap_table(5). A value that begins with "!" is the answer
// itself.
func talkSocketmap(conn net.Conn, table map[string]string) {
	in := bufio.NewReader(conn)
	for {
		length, err := in.ReadString(':')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
		if err != nil || n > 100000 {
			return
		}
		text := make([]byte, n+1) // and the comma
		if _, err := io.ReadFull(in, text); err != nil {
			return
		}
		_, key, _ := strings.Cut(string(text[:n]), " ")
		value, found := table[strings.ToLower(key)]
		answer, own := strings.CutPrefix(value, "!")
		if !found {
			answer = "NOTFOUND "
		} else if !own {
			answer = "OK " + value
		}
		fmt.Fprintf(conn, "%d:%s,", len(answer), answer)
	}
}
