package dns

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// udpSize is the answer size offered by EDNS: what fits an unfragmented
// datagram nearly everywhere (DNS flag day 2020).
const udpSize = 1232

// errMismatch is a reply that answers another question.
var errMismatch = errors.New("the reply is for another question")

// exchange sends one question to one server and waits at most timeout for the
// reply; a truncated one is asked for again over TCP. Each UDP question has a
// socket of its own, so that the kernel picks a fresh random port: guessing
// port and id together is what makes forging replies hard (RFC 5452). An error
// means that no usable reply came.
func exchange(ctx context.Context, server, name, typ string, timeout time.Duration) (Reply, error) {
	m := new(mdns.Msg)
	m.SetQuestion(mdns.Fqdn(name), mdns.StringToType[typ])
	m.AuthenticatedData = true // RFC 6840 section 5.7: we understand AD
	m.SetEdns0(udpSize, false)
	r, err := roundTrip(ctx, "udp", server, m, timeout)
	if err == nil && r.Rcode == mdns.RcodeFormatError {
		m.Extra = nil // a server older than EDNS
		r, err = roundTrip(ctx, "udp", server, m, timeout)
	}
	if err == nil && r.Truncated {
		r, err = roundTrip(ctx, "tcp", server, m, timeout)
	}
	if err != nil {
		return Reply{}, err
	}
	return reduce(r), nil
}

func roundTrip(ctx context.Context, network, server string, m *mdns.Msg, timeout time.Duration) (*mdns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := mdns.Client{Net: network, UDPSize: udpSize, Timeout: timeout}
	conn, err := c.DialContext(ctx, server)
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	r, _, err := c.ExchangeWithConnContext(ctx, m, conn)
	if err != nil {
		return nil, fmt.Errorf("dns: asking %s: %w", server, err)
	}
	q := m.Question[0]
	if len(r.Question) != 1 || r.Question[0].Qtype != q.Qtype || !strings.EqualFold(r.Question[0].Name, q.Name) {
		return nil, fmt.Errorf("dns: asking %s: %w", server, errMismatch)
	}
	return r, nil
}

// unanswered reports whether err means silence, rather than a reply that
// makes no sense.
func unanswered(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}

// reduce keeps of a message what mail needs.
func reduce(m *mdns.Msg) Reply {
	r := Reply{Outcome: outcome(m.Rcode), AD: m.AuthenticatedData}
	for _, rr := range m.Answer {
		if rec, ok := record(rr); ok {
			r.Records = append(r.Records, rec)
		}
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*mdns.SOA); ok { // RFC 2308 section 5
			r.NegativeTTL = time.Duration(min(soa.Hdr.Ttl, soa.Minttl)) * time.Second
		}
	}
	return r
}

func outcome(rcode int) Outcome {
	switch rcode {
	case mdns.RcodeSuccess:
		return Success
	case mdns.RcodeNameError:
		return NXDomain
	case mdns.RcodeServerFailure, mdns.RcodeNotImplemented:
		return ServFail
	case mdns.RcodeRefused:
		return Refused
	}
	return OtherError
}

// record reduces one resource record; ok is false for types mail has no use
// for.
func record(rr mdns.RR) (r Record, ok bool) {
	h := rr.Header()
	r = Record{
		Type: mdns.TypeToString[h.Rrtype],
		Name: plainName(h.Name),
		TTL:  time.Duration(h.Ttl) * time.Second,
	}
	switch rr := rr.(type) {
	case *mdns.A:
		r.Data = rr.A.String()
	case *mdns.AAAA:
		r.Data = rr.AAAA.String()
	case *mdns.MX:
		r.Pref, r.Data = rr.Preference, plainName(rr.Mx)
	case *mdns.NS:
		r.Data = plainName(rr.Ns)
	case *mdns.PTR:
		r.Data = plainName(rr.Ptr)
	case *mdns.CNAME:
		r.Data = plainName(rr.Target)
	case *mdns.TLSA:
		data, err := hex.DecodeString(rr.Certificate)
		if err != nil {
			return Record{}, false
		}
		r.Data = string(append([]byte{rr.Usage, rr.Selector, rr.MatchingType}, data...))
	case *mdns.TXT:
		for i, s := range rr.Txt {
			s = unescape(s)
			if i == 0 && len(rr.Txt) > 1 {
				r.First = len(s)
			}
			r.Data += s
		}
	default:
		return Record{}, false
	}
	return r, true
}

// plainName turns the library's presentation form into plain bytes without
// the final dot.
func plainName(s string) string {
	return unescape(strings.TrimSuffix(s, "."))
}

// unescape undoes presentation format's "\DDD" and "\X" (RFC 1035 section
// 5.1).
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			if i+3 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]) {
				c = (s[i+1]-'0')*100 + (s[i+2]-'0')*10 + s[i+3] - '0'
				i += 3
			} else {
				i++
				c = s[i]
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
