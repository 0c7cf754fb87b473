package main

import "strings"

// records are what zones are made of.
const records = `a.test MX 10 mx.a.test
a.test NS ns.a.test
a.test NS ns2.a.test
a.test A 192.0.2.12
ns.a.test A 192.0.2.10
ns2.a.test A 203.0.113.5
mx.a.test A 192.0.2.10
b.test A 192.0.2.11
b.test NS ns.b.test
ns.b.test AAAA 2001:db8::11
c.test AAAA 2001:db8::11
c.test NS nx.test
test NS ns.test
ns.test A 192.0.2.11
cname.test CNAME b.test
null.test MX 0 .
nulltwo.test MX 0 .
nulltwo.test MX 10 mx.a.test
servfail.test SERVFAIL
refused.test REFUSED
nodata.test EXISTS
slow.test DROP
mxservfail.a.test MX 10 servfail.test
mxmany.test MX 10 mx.a.test
mxmany.test MX 10 mx2.a.test
mxmany.test MX 20 b.test
mxmany.test MX 5 c.test
mxip.test MX 10 192.0.2.10
mxnx.test MX 10 nx.test
mxbad.test MX 10 -bad.test
mxlocal.test MX 10 mx.ours.test
mxlocal.test MX 20 mx.a.test
mxfirst.test MX 10 mx.a.test
mxfirst.test MX 20 mx.ours.test
mxlocalhost.test MX 10 localhost
mx.ours.test A 127.0.0.1
mx2.a.test A 203.0.113.5
nsbad.test NS 192.0.2.10
nsservfail.test NS servfail.test
reject.test A 192.0.2.1
ok.test A 192.0.2.1
relay.test A 192.0.2.1
relay.test MX 10 mx.ours.test
host.a.test A 192.0.2.3
host.reject.test A 192.0.2.5
mxonly.test MX 10 mx.a.test
xn--bcher-kva.test MX 10 mx.a.test
many.test A 192.0.2.20
many.test A 192.0.2.21
many.test A 192.0.2.1
*.any.test A 192.0.2.1
*.any.test MX 10 mx.a.test
2.2.0.192.rbl.test A 127.0.0.2
2.2.0.192.rbl.test TXT "listed, see http://rbl.test/?192.0.2.2"
3.2.0.192.rbl.test A 127.0.0.10
3.2.0.192.rbl.test A 127.0.1.4
3.2.0.192.rbl.test TXT "one"
3.2.0.192.rbl.test TXT "two"
4.2.0.192.rbl.test SERVFAIL
5.2.0.192.rbl.test A 127.0.2.4
5.2.0.192.rbl.test TXT "caf\xc3\xa9 $1 100% <x>"
7.2.0.192.rbl.test A 127.0.0.2
2.2.0.192.templ.rbl.test A 127.0.0.2
2.2.0.192.templ.rbl.test TXT "templ"
3.2.0.192.fixed.rbl.test A 127.0.0.2
3.2.0.192.fixed.rbl.test TXT "fixed reason"
2.2.0.192.fixed.rbl.test A 127.0.0.2
2.2.0.192.bad.rbl.test A 127.0.0.2
2.2.0.192.wl.test A 127.0.0.2
5.2.0.192.wl.test A 127.0.0.3
4.2.0.192.wl.test SERVFAIL
*.wild.test A 127.0.0.2
*.wild.test TXT "wild"
1.100.51.198.slow.rbl.test DROP
7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.8.b.d.0.1.0.0.2.rbl.test A 127.0.0.4
xn--bcher-kva.test.rhsbl.test A 127.0.0.2
a.test.rhsbl.test A 127.0.0.2
a.test.rhsbl.test TXT "bad domain"
reject.test.rhsbl.test A 127.0.0.5
host.a.test.rhsbl.test A 127.0.0.2
host.a.test.wl.test A 127.0.0.2
localhost.rhsbl.test A 127.0.0.2
servfail.test.rhsbl.test SERVFAIL
ours.test.rhsbl.test A 127.0.0.2
mailbox.test.rhsbl.test A 127.0.0.2`

// zone is most of the records, with failures here and there.
func (a *author) zone() []string {
	lines := strings.Split(records, "\n")
	long := strings.Repeat("long ", 60)
	lines = append(lines, `2.2.0.192.long.rbl.test A 127.0.0.2`, `2.2.0.192.long.rbl.test TXT "`+long[:250]+`"`)
	for range 3 {
		lines = append(lines, `2.2.0.192.long.rbl.test TXT "`+long[:240]+`"`)
	}
	out := a.most(10, lines)
	for range 3 {
		name, _, _ := strings.Cut(a.oneOf(lines...), " ")
		out = append(out, name+" "+a.oneOf("SERVFAIL", "SERVFAIL", "REFUSED", "EXISTS", "CNAME b.test", "MX 0 ."))
	}
	return out
}
