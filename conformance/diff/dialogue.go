package main

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"sekisho/conformance"
)

// domains are those that zones and tables are about.
var domains = []string{
	"a.test", "a.test", "b.test", "c.test", "cname.test", "null.test", "nulltwo.test", "servfail.test", "refused.test", "nodata.test", "nx.test",
	"mailbox.test", "mailbox.test", "alias.test", "relay.test", "sub.relay.test", "listed-relay.test", "local.test", "local.test", "localhost", "ours.test", "mx.ours.test",
	"broken.test", "plain.test", "reject.test", "sub.reject.test", "ok.test", "host.a.test", "mxservfail.a.test", "mxmany.test", "mxip.test", "mxnx.test", "mxbad.test",
	"mxlocal.test", "mxfirst.test", "mxlocalhost.test", "nsbad.test", "nsservfail.test", "many.test", "x.any.test", "xn--bcher-kva.test",
}

// oddDomains are those with something special in their form.
var oddDomains = []string{
	"a.test.", "A.Test", "[192.0.2.1]", "[127.0.0.1]", "[IPv6:2001:db8::1]", "[junk]", "under_score.test", "-bad.test", "a..test", "1.2.3.4", "one", "slow.test",
	"[IPv6:::1]", "[192.0.2.1", "a.test-", "a", "test", "x-.test", ".a.test", "a.1", "12345", "[10.1.2.3]", "[192.0.2.99]", "[ipv6:2001:db8::1]", "[::1]", "[0.1.2.3]",
}

func (a *author) domain() string {
	if a.in(5) {
		return a.oneOf(oddDomains...)
	}
	return a.oneOf(domains...)
}

// mailDomain is one that stands in addresses. No IPv6 literals: a probe of
// Postfix calls them bad syntax, although its smtpd takes them.
func (a *author) mailDomain() string {
	for {
		if d := a.domain(); !strings.Contains(strings.ToLower(d), "[ipv6:") && d != "[::1]" {
			return d
		}
	}
}

func (a *author) local() string {
	return a.oneOf("x", "x", "x", "user", "user", "user+ext", "root", "ext+more", "alice", "moved", "postmaster", "owned", "shared", "x+", "+x", "canon",
		`"quoted user"`, `"a@b.test"`, `"user%b.test"`, "u%b.test", "b.test!u", "u%a.test%relay.test", `"x"`, "User", "x.y", "double-bounce", "mailer-daemon", "-x",
		`a\@b`, "bounce-double", "x-y", "user+", "o'brien", "x=y", "a..b", ".x")
}

// address is what stands between the angle brackets.
func (a *author) address() string {
	switch a.Intn(26) {
	case 0:
		return a.local()
	case 1:
		return "@a.test,@b.test:" + a.local() + "@" + a.mailDomain()
	case 2:
		return a.local() + "@" + a.mailDomain() + "@" + a.oneOf("local.test", "mailbox.test", "relay.test", "[127.0.0.1]")
	case 3:
		return a.oneOf("@"+a.mailDomain(), "", " ", "<>", `""@a.test`, "x y@a.test", "x@a.test, y@b.test", "x@[", `"x@a.test`, "x(c)@a.test", "@a.test:x@b.test", "<x@a.test>")
	case 4:
		return a.oneOf("x", "\u00fc", `"\u00fc \u00fc"`, "\u65e5\u672c") + "@" + a.oneOf("b\u00fccher.test", "a.test", "\u00fc.reject.test", "\u65e5\u672c.test", "mailbox.test")
	}
	return a.local() + "@" + a.mailDomain()
}

func (a *author) path() string {
	addr := a.address()
	if a.in(14) {
		return a.oneOf(addr, "<"+addr, " <"+addr+">", "Name <"+addr+">", "<"+addr+"> (c)", addr+" (c)", addr+">", "<"+addr+">x", "<<"+addr+">>")
	}
	return "<" + addr + ">"
}

// say is a command whose reply is awaited.
func say(line string) turn {
	return turn{{Kind: conformance.Send, Data: []byte(line + "\r\n")}, {Kind: conformance.Reply, Data: []byte("?")}}
}

// talk makes a dialogue. Each begins with what XCLIENT makes of the client, since
// all connections come from the same address.
func (a *author) talk() talk {
	t := talk{{{Kind: conformance.Reply, Data: []byte("?")}}}
	if !a.in(30) {
		t = append(t, say(a.xclient()))
	}
	if a.in(25) {
		t = append(t, a.auth()...)
	}
	if !a.in(20) {
		t = append(t, say(a.hello()))
	}
	if a.in(12) {
		t = append(t, say(a.hello()))
	}
	if a.in(12) {
		t = append(t, a.auth()...)
	}
	transactions := 1
	for a.in(3) && transactions < 3 {
		transactions++
	}
	for range transactions {
		t = append(t, a.aside()...)
		var sent bool
		t, sent = a.transaction(t)
		if sent && a.eod { // Postfix 3.7's smtpd dies of a DATA that follows a message refused at its end
			break
		}
		if a.in(30) {
			t = append(t, say(a.xclient()))
		}
	}
	if !a.in(8) {
		t = append(t, say("QUIT"))
	}
	return t
}

func (a *author) hello() string {
	name := a.domain()
	if a.in(2) {
		name = a.oneOf("host.a.test", "a.test.", "one", "[192.0.2.1]", "[192.0.2.9]", "[IPv6:2001:db8::1]", "[junk]", "[192.0.2.1", "192.0.2.1", "-bad.test", "a..test",
			"null.test", "nx.test", "servfail.test", "refused.test", "mxonly.test", "localhost", "under_score.test", "b.test", "c.test", "nodata.test", "UNKNOWN", "Host.A.Test",
			"two words", "(x)", "<a.test>", "caf\u00e9.test", "b\u00fccher.test", "x;y", "a@b", "")
	}
	return strings.TrimSuffix(a.oneOf("EHLO ", "EHLO ", "EHLO ", "HELO ", "ehlo ", "EHLO  ")+name, " ")
}

// xclient is a client.
func (a *author) xclient() string {
	addr := a.oneOf("192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.7", "198.51.100.1", "198.51.100.1", "10.1.2.3", "203.0.113.5",
		"IPV6:2001:db8:2::7", "IPV6:2001:db8:1::7", "127.0.0.2")
	names := []string{"host.a.test", "host.a.test", "host.reject.test", "unknown.ok.test", "[UNAVAILABLE]", "[UNAVAILABLE]", "[TEMPUNAVAIL]", "x.hold.test", "b.test", "Mixed.A.Test",
		"x.any.test", "mxmany.test", "null.test", "nx.test", "servfail.test", "localhost"}
	words := []string{"XCLIENT", "NAME=" + a.oneOf(names...), "ADDR=" + addr}
	if !a.in(4) {
		words = append(words, "REVERSE_NAME="+a.oneOf(names...))
	}
	for _, w := range []string{
		"LOGIN=" + a.oneOf("alice", "bob", "Alice", "alice@ours.test", "[UNAVAILABLE]"), "LOGIN=" + a.oneOf("alice", "bob"), "HELO=" + a.oneOf("given.test", "a.test", "one", "[UNAVAILABLE]"),
		"PROTO=" + a.oneOf("SMTP", "ESMTP"), "PORT=" + a.oneOf("1234", "[UNAVAILABLE]"), "DESTADDR=" + a.oneOf("192.0.2.99", "127.0.0.1"), "DESTPORT=25",
	} {
		if a.in(8) {
			words = append(words, w)
		}
	}
	if a.in(40) { // in front: Postfix keeps what comes before a mistake, in part
		words = slices.Insert(words, 1, a.oneOf("NAME=bad_+41name", "ADDR=1.2.3", "FROB=x", "NAME", "ADDR=[UNAVAILABLE]", "PROTO=SMTPS", "NAME=-bad.test", "HELO=", "PORT=x", "ADDR=2001:db8::1"))
	}
	return strings.Join(words, " ")
}

// auth is a login, good or bad.
func (a *author) auth() talk {
	user := a.oneOf("alice", "bob")
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + a.oneOf(user, user, user, "wrong")))
	switch a.Intn(6) {
	case 0:
		return talk{say("AUTH PLAIN"), say(plain)}
	case 1:
		return talk{say(a.oneOf("AUTH CRAM-MD5", "AUTH", "AUTH PLAIN !", "AUTH PLAIN = x", "AUTH plain "+plain, "AUTH PLAIN =")), say("*")}
	case 2:
		name := base64.StdEncoding.EncodeToString([]byte(user))
		return talk{say("AUTH LOGIN"), say(name), say(a.oneOf(name, name, "*", "!"))}
	}
	return talk{say("AUTH PLAIN " + plain)}
}

// aside is what clients also say.
func (a *author) aside() talk {
	if !a.in(5) {
		return nil
	}
	if a.in(30) {
		return talk{a.data()}
	}
	return talk{say(a.oneOf("NOOP", "NOOP x", "RSET", "RSET x", "VRFY "+a.path(), "VRFY <"+a.address()+">", "VRFY "+a.address(), "VRFY", "ETRN relay.test", "ETRN relay.test",
		"ETRN "+a.domain(), "ETRN", "ETRN @relay.test", "ETRN #q", "EXPN x", "FROB", "GET / HTTP/1.0", "Subject: x", "", " ", "BDAT", "BDAT 0", "BDAT x LAST", "DATA x",
		"STARTTLS", "STARTTLS x", "RCPT TO:<x@a.test>", "TURN", "SEND FROM:<x>", "QUIT x", "MAIL", "RCPT", "VRFY <x@a.test> SMTPUTF8", "XFORWARD NAME=x ADDR=192.0.2.1",
		"XFORWARD FROB=x", "XCLIENT", "123 x", "\xff\xfe", "NOOP "+strings.Repeat("x", 600), "mail from", "VRFY a b", "ETRN a b", "XFORWARD HELO=x PROTO=ESMTP SOURCE=REMOTE IDENT=1"))}
}

func (a *author) mail() string {
	path := a.path()
	if a.in(10) {
		path = "<>"
	}
	line := a.oneOf("MAIL FROM:", "MAIL FROM:", "MAIL FROM:", "MAIL FROM: ", "mail from:", "MAIL  FROM:", "MAIL FROM :") + path
	if strings.ContainsFunc(path, func(c rune) bool { return c > 127 }) && !a.in(4) || a.in(15) {
		line += " SMTPUTF8"
	}
	for a.in(8) {
		line += " " + a.oneOf("SIZE=100", "SIZE=5000", "SIZE=x", "SIZE=99999999999999999999", "BODY=8BITMIME", "BODY=7BIT", "BODY=x", "RET=HDRS", "RET=x", "ENVID=a+2Bb", "ENVID=+x",
			"AUTH=<>", "AUTH=x@a.test", "AUTH=x AUTH=y", "XVERP", "XVERP=+=", "XVERP=ab", "FROB=1", "size=1", "SIZE=", "SMTPUTF8=x")
	}
	return line
}

func (a *author) rcpt() string {
	path := a.path()
	switch a.Intn(20) {
	case 0:
		path = a.oneOf("<postmaster>", "<PostMaster>", "<double-bounce>", "postmaster", "<double-bounce@ours.test>", "<postmaster@local.test>")
	case 1, 2, 3, 4:
		path = a.oneOf("<x@mailbox.test>", "<root@local.test>", "<x@relay.test>", "<x@alias.test>", "<user@mailbox.test>", "<x@a.test>")
	}
	line := a.oneOf("RCPT TO:", "RCPT TO:", "RCPT TO:", "RCPT TO: ", "rcpt to:", "RCPT TO :") + path
	for a.in(12) {
		line += " " + a.oneOf("NOTIFY=SUCCESS", "NOTIFY=SUCCESS,DELAY", "NOTIFY=SUCCESS,NEVER", "NOTIFY=x", "ORCPT=rfc822;x@a.test", "ORCPT=x", "ORCPT=utf-8;x", "FROB", "NOTIFY=")
	}
	return line
}

// transaction is a message, or an attempt; sent is whether content went out.
func (a *author) transaction(t talk) (_ talk, sent bool) {
	commands := []string{a.mail()}
	for range 1 + a.Intn(3) {
		commands = append(commands, a.rcpt())
	}
	if a.in(25) {
		commands = append(commands, a.mail())
	}
	if a.in(7) {
		t = append(t, a.group(commands))
	} else {
		for _, c := range commands {
			t = append(t, say(c))
			if a.in(15) {
				t = append(t, a.aside()...)
			}
		}
	}
	switch a.Intn(8) {
	case 0, 1, 2, 3:
		return append(t, a.data()), true
	case 4:
		if a.in(2) {
			return append(t, a.chunks()...), true
		}
	case 5:
		return append(t, say("RSET")), false
	}
	return t, false
}

// group is some commands in one write, a whole transaction perhaps.
func (a *author) group(commands []string) turn {
	if a.in(4) {
		commands = append([]string{a.oneOf("EHLO host.a.test", "HELO a.test", "RSET", "NOOP")}, commands...)
	}
	if a.in(4) {
		commands = append(commands, a.oneOf("RSET", "NOOP", "QUIT", "VRFY <x@a.test>", "ETRN relay.test"))
	}
	var u turn
	for _, c := range commands {
		u = append(u, conformance.Step{Kind: conformance.Send, Data: []byte(c + "\r\n")})
	}
	for range commands {
		u = append(u, conformance.Step{Kind: conformance.Reply, Data: []byte("?")})
	}
	return u
}

func (a *author) data() turn {
	u := say("DATA")
	for _, line := range a.content() {
		u = append(u, conformance.Step{Kind: conformance.Content, Data: []byte(line + "\r\n")})
	}
	u = append(u, conformance.Step{Kind: conformance.Content, Data: []byte(".\r\n")})
	return append(u, conformance.Step{Kind: conformance.Reply, Data: []byte("?")})
}

func (a *author) content() []string {
	lines := []string{"Subject: x", "From: <x@a.test>", "To: <x@b.test>"}[:a.Intn(4)]
	lines = append(lines[:len(lines):len(lines)], "", "text")
	if a.in(10) {
		for range 30 {
			lines = append(lines, strings.Repeat("long text ", 7))
		}
	}
	return lines
}

// chunks sends content by BDAT, in one chunk or two.
func (a *author) chunks() talk {
	body := strings.Join(a.content(), "\r\n") + "\r\n"
	var t talk
	if a.in(3) {
		n := 1 + a.Intn(len(body))
		t = append(t, a.chunk(fmt.Sprintf("BDAT %d", n), body[:n]))
		body = body[n:]
	}
	return append(t, a.chunk(fmt.Sprintf("BDAT %d LAST", len(body)), body))
}

func (a *author) chunk(command, body string) turn {
	return turn{
		{Kind: conformance.Send, Data: []byte(command + "\r\n")}, {Kind: conformance.Send, Data: []byte(body)}, {Kind: conformance.Reply, Data: []byte("?")},
	}
}
