// Package zone is the Domain Name System of a scripted world: it reads zone
// files of one line a record and answers questions from them, in the process
// (Query, for "sekisho explain --zone" and tests) or over the network (Serve,
// for conformance runs). It is no name server for the Internet.
//
// A line is NAME TYPE VALUE..., names without final dot, "#" begins a comment
// line:
//
//	host.example      A 192.0.2.7
//	host.example      AAAA 2001:db8::7
//	7.2.0.192.in-addr.arpa PTR host.example
//	d.example         MX 10 mx.d.example     ("MX 0 ." is the null MX)
//	alias.example     CNAME host.example
//	d.example         NS ns.d.example
//	d.example         TXT "some text"
//	_25._tcp.mx.d.example TLSA 3 1 1 0123abcd...
//	d.example         SECURE     answers for the name are authentic (DNSSEC)
//	broken.example    SERVFAIL   every question for the name fails
//	silent.example    DROP       questions are never answered
//	closed.example    REFUSED
//	empty.example     EXISTS     the name is there, without data
//	*.below.example   A 192.0.2.8   any name below, any type
//
// A name that no line gives does not exist (NXDOMAIN), unless names below it
// do.
package zone

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"sekisho/internal/dns"
)

// Times to live of scripted answers.
const (
	recordTTL   = 300 * time.Second
	negativeTTL = 60 * time.Second
)

// Zone is a set of scripted answers. It does not change after Parse and is
// safe for concurrent use.
type Zone struct {
	nodes map[string]*node
}

// node is what the file says about one name.
type node struct {
	records []dns.Record
	outcome dns.Outcome // ServFail, Refused, Timeout; zero: answer from records
	secure  bool        // answers are authentic
}

// Load parses the file at path.
func Load(path string) (*Zone, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	defer f.Close()
	return Parse(path, f)
}

// Parse reads a zone; file is its name in error messages.
func Parse(file string, r io.Reader) (*Zone, error) {
	z := &Zone{nodes: make(map[string]*node)}
	sc := bufio.NewScanner(r)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := z.add(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return z, nil
}

// add takes one line.
func (z *Zone) add(line string) error {
	words := strings.Fields(line)
	if len(words) < 2 {
		return fmt.Errorf("a line is NAME TYPE VALUE, this is %q", line)
	}
	name := strings.TrimSuffix(words[0], ".")
	n := z.nodes[strings.ToLower(name)]
	if n == nil {
		n = &node{}
		z.nodes[strings.ToLower(name)] = n
	}
	switch words[1] {
	case "EXISTS":
		return nil
	case "SECURE":
		n.secure = true
		return nil
	case "SERVFAIL":
		n.outcome = dns.ServFail
		return nil
	case "REFUSED":
		n.outcome = dns.Refused
		return nil
	case "DROP":
		n.outcome = dns.Timeout
		return nil
	}
	r, err := parseRecord(words[1], words[2:])
	if err != nil {
		return err
	}
	r.Name, r.TTL = name, recordTTL
	n.records = append(n.records, r)
	return nil
}

func parseRecord(typ string, args []string) (dns.Record, error) {
	r := dns.Record{Type: typ}
	want := map[string]int{"A": 1, "AAAA": 1, "PTR": 1, "CNAME": 1, "NS": 1, "MX": 2}[typ]
	switch {
	case typ == "TXT":
		r.Data = strings.Trim(strings.Join(args, " "), `"`)
		if len(r.Data) > 255 {
			r.First = 255
		}
		return r, nil
	case typ == "TLSA":
		return tlsa(args)
	case want == 0:
		return r, fmt.Errorf("unknown type %q; there are A AAAA PTR MX CNAME NS TXT TLSA SECURE SERVFAIL DROP REFUSED EXISTS", typ)
	case len(args) != want:
		return r, fmt.Errorf("%s takes %d values, not %d", typ, want, len(args))
	}
	r.Data = strings.TrimSuffix(args[want-1], ".")
	switch typ {
	case "A", "AAAA":
		addr, err := netip.ParseAddr(r.Data)
		if err != nil || addr.Is4() != (typ == "A") {
			return r, fmt.Errorf("%q is no address of type %s", r.Data, typ)
		}
		r.Data = addr.String()
	case "MX":
		pref, err := strconv.ParseUint(args[0], 10, 16)
		if err != nil {
			return r, fmt.Errorf("%q is no MX preference (0 to 65535)", args[0])
		}
		r.Pref = uint16(pref)
	}
	return r, nil
}

// tlsa reads usage, selector, matching type and data in hexadecimal.
func tlsa(args []string) (dns.Record, error) {
	r := dns.Record{Type: "TLSA"}
	if len(args) < 4 {
		return r, fmt.Errorf("TLSA takes usage, selector, matching type and data, not %q", args)
	}
	var data []byte
	for _, a := range args[:3] {
		n, err := strconv.ParseUint(a, 10, 8)
		if err != nil {
			return r, fmt.Errorf("%q in a TLSA record is no number from 0 to 255", a)
		}
		data = append(data, byte(n))
	}
	rest, err := hex.DecodeString(strings.Join(args[3:], ""))
	if err != nil {
		return r, fmt.Errorf("TLSA data: %w", err)
	}
	r.Data = string(append(data, rest...))
	return r, nil
}

// Reply answers one question as a server does: an alias comes with the
// records of its target, if the zone has them.
func (z *Zone) Reply(name, typ string) dns.Reply {
	n := z.find(name)
	switch {
	case n == nil:
		return dns.Reply{Outcome: dns.NXDomain, NegativeTTL: negativeTTL}
	case n.outcome != 0:
		return dns.Reply{Outcome: n.outcome}
	}
	r := dns.Reply{Outcome: dns.Success, NegativeTTL: negativeTTL, AD: n.secure}
	for _, rec := range n.records {
		if rec.Type != typ && rec.Type != "CNAME" {
			continue
		}
		rec.Name = name
		r.Records = append(r.Records, rec)
		if rec.Type == "CNAME" && typ != "CNAME" {
			r.Records = append(r.Records, z.target(rec.Data, typ)...)
			if target := z.find(rec.Data); target != nil {
				r.AD = r.AD && target.secure
			}
		}
	}
	return r
}

// target returns an alias target's own records.
func (z *Zone) target(name, typ string) []dns.Record {
	var list []dns.Record
	if n := z.find(name); n != nil {
		for _, rec := range n.records {
			if rec.Type == typ {
				rec.Name = name
				list = append(list, rec)
			}
		}
	}
	return list
}

// find returns what answers for name: its own lines, the nearest wildcard, or
// an empty node when the name only has names below it. Nil: no such name.
func (z *Zone) find(name string) *node {
	name = strings.ToLower(name)
	if n := z.nodes[name]; n != nil {
		return n
	}
	for rest := name; ; {
		_, parent, more := strings.Cut(rest, ".")
		if !more {
			break
		}
		if n := z.nodes["*."+parent]; n != nil {
			return n
		}
		rest = parent
	}
	for key := range z.nodes {
		if strings.HasSuffix(key, "."+name) && !strings.HasPrefix(key, "*.") {
			return &node{}
		}
	}
	return nil
}

// Query answers at once what a resolver would find out from servers of this
// zone. A silent name is the answer Timeout.
func (z *Zone) Query(_ context.Context, name, typ string) dns.Answer {
	return dns.Resolve(name, typ, z.Reply)
}

// Serve answers from the zone at addr (host:port; port 0 picks one) over UDP
// and TCP.
func (z *Zone) Serve(addr string) (*dns.Server, error) {
	return dns.Serve(addr, z.Reply)
}
