package dns

import (
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// Server answers DNS questions on one address over UDP and TCP from a
// function: a scripted world for tests, no name server for the Internet.
type Server struct {
	addr     string
	udp, tcp *mdns.Server
	done     chan error
}

// Serve answers at addr (host:port; port 0 picks one) what answer says, until
// Close. A Reply with the Outcome Timeout is never sent.
func Serve(addr string, answer func(name, typ string) Reply) (*Server, error) {
	ln, pc, err := listen(addr)
	if err != nil {
		return nil, fmt.Errorf("dns: cannot serve at %s: %w", addr, err)
	}
	h := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) { respond(w, q, answer) })
	s := &Server{
		addr: ln.Addr().String(),
		udp:  &mdns.Server{PacketConn: pc, Handler: h},
		tcp:  &mdns.Server{Listener: ln, Handler: h},
		done: make(chan error, 2),
	}
	for _, srv := range []*mdns.Server{s.udp, s.tcp} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		go func() { s.done <- srv.ActivateAndServe() }()
		<-started
	}
	return s, nil
}

// listen opens the same port for TCP and UDP.
func listen(addr string) (net.Listener, net.PacketConn, error) {
	var err error
	for range 10 { // a port picked for TCP may be taken for UDP
		var ln net.Listener
		if ln, err = net.Listen("tcp", addr); err != nil {
			return nil, nil, err
		}
		var pc net.PacketConn
		if pc, err = net.ListenPacket("udp", ln.Addr().String()); err == nil {
			return ln, pc, nil
		}
		ln.Close()
	}
	return nil, nil, err
}

// Addr returns the address served, host:port.
func (s *Server) Addr() string { return s.addr }

// Close stops serving and waits for it.
func (s *Server) Close() error {
	err := s.udp.Shutdown()
	if e := s.tcp.Shutdown(); err == nil {
		err = e
	}
	for range 2 {
		if e := <-s.done; err == nil {
			err = e
		}
	}
	return err
}

func respond(w mdns.ResponseWriter, q *mdns.Msg, answer func(name, typ string) Reply) {
	if len(q.Question) != 1 {
		return
	}
	question := q.Question[0]
	r := answer(plainName(question.Name), mdns.TypeToString[question.Qtype])
	if r.Outcome == Timeout {
		return
	}
	m := new(mdns.Msg)
	m.SetReply(q)
	m.Authoritative = true
	m.AuthenticatedData = r.AD
	m.Rcode = rcode(r.Outcome)
	for _, rec := range r.Records {
		m.Answer = append(m.Answer, rec.rr())
	}
	if len(m.Answer) == 0 && (m.Rcode == mdns.RcodeSuccess || m.Rcode == mdns.RcodeNameError) {
		m.Ns = []mdns.RR{soa(r.NegativeTTL)}
	}
	size := mdns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(udpSize, false)
		size = max(size, int(opt.UDPSize()))
	}
	if _, udp := w.LocalAddr().(*net.UDPAddr); udp {
		m.Truncate(size)
	}
	// The asker waits in vain if this fails; there is nobody else to tell.
	_ = w.WriteMsg(m)
}

func rcode(o Outcome) int {
	switch o {
	case Success, NoData:
		return mdns.RcodeSuccess
	case NXDomain:
		return mdns.RcodeNameError
	case Refused:
		return mdns.RcodeRefused
	}
	return mdns.RcodeServerFailure
}

func soa(ttl time.Duration) mdns.RR {
	seconds := uint32(ttl / time.Second)
	return &mdns.SOA{
		Hdr: mdns.RR_Header{Name: ".", Rrtype: mdns.TypeSOA, Class: mdns.ClassINET, Ttl: seconds},
		Ns:  "ns.test.", Mbox: "root.ns.test.",
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: seconds,
	}
}

// rr turns a record into the library's form.
func (r Record) rr() mdns.RR {
	h := mdns.RR_Header{
		Name:   wireName(r.Name),
		Rrtype: mdns.StringToType[r.Type],
		Class:  mdns.ClassINET,
		Ttl:    uint32(r.TTL / time.Second),
	}
	switch r.Type {
	case "A":
		return &mdns.A{Hdr: h, A: net.ParseIP(r.Data)}
	case "AAAA":
		return &mdns.AAAA{Hdr: h, AAAA: net.ParseIP(r.Data)}
	case "MX":
		return &mdns.MX{Hdr: h, Preference: r.Pref, Mx: wireName(r.Data)}
	case "NS":
		return &mdns.NS{Hdr: h, Ns: wireName(r.Data)}
	case "PTR":
		return &mdns.PTR{Hdr: h, Ptr: wireName(r.Data)}
	case "CNAME":
		return &mdns.CNAME{Hdr: h, Target: wireName(r.Data)}
	case "TLSA":
		return &mdns.TLSA{Hdr: h, Usage: r.Data[0], Selector: r.Data[1], MatchingType: r.Data[2], Certificate: hex.EncodeToString([]byte(r.Data[3:]))}
	}
	return &mdns.TXT{Hdr: h, Txt: characterStrings(r)}
}

// characterStrings cuts a text into pieces of at most 255 bytes, the first one
// as long as First says.
func characterStrings(r Record) []string {
	var list []string
	first, rest := r.First, r.Data
	for len(list) == 0 || rest != "" {
		n := min(len(rest), 255)
		if len(list) == 0 && first > 0 {
			n = min(n, first)
		}
		list = append(list, escape(rest[:n], `"\`))
		rest = rest[n:]
	}
	return list
}

func wireName(s string) string {
	return mdns.Fqdn(escape(s, `"\();@$ `))
}

// escape writes bytes that mean something in presentation format as "\DDD".
func escape(s, special string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c > '~' || strings.IndexByte(special, c) >= 0 {
			b.WriteString(`\` + strconv.Itoa(1000 + int(c))[1:])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
