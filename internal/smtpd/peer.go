package smtpd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	proxyproto "github.com/pires/go-proxyproto"

	"sekisho/internal/mail"
)

const unknownName = "unknown"

// peer finds out who the client is: its address, from the proxy's header where
// there is a proxy, and its name. The error is that of a bad header.
func (s *session) peer() error {
	s.setEnds(s.conn.RemoteAddr(), s.conn.LocalAddr())
	s.setNames(unknownName, mail.NamePerm, unknownName, mail.NamePerm)
	var err error
	if s.set.proxyProtocol {
		err = s.proxyHeader()
	}
	if err != nil {
		s.warn("haproxy read: %v", err)
		return err
	}
	s.lookupName()
	return nil
}

// setEnds sets the addresses of both ends.
func (s *session) setEnds(client, server net.Addr) {
	s.facts.ClientAddress, s.facts.ClientPort = endpoint(client)
	s.facts.ServerAddress, s.facts.ServerPort = endpoint(server)
}

// endpoint is an address as Postfix writes it; what is no TCP address is local.
func endpoint(a net.Addr) (addr, port string) {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return "127.0.0.1", "0" // as Postfix calls clients without an address
	}
	return ap.Addr().Unmap().WithZone("").String(), strconv.Itoa(int(ap.Port()))
}

func (s *session) setNames(name string, st mail.NameStatus, reverse string, rst mail.NameStatus) {
	s.facts.ClientName, s.facts.ClientNameStatus = name, st
	s.facts.ReverseClientName, s.facts.ReverseClientNameStatus = reverse, rst
	s.facts.LogClientPort = s.set.logPort
}

func (s *session) lookupName() {
	addr, err := netip.ParseAddr(s.facts.ClientAddress)
	if !s.set.peernameLookup || err != nil {
		return
	}
	n := s.srv.o.Peers.ClientName(s.ctx, addr)
	for _, w := range n.Warnings {
		s.warn("%s", w)
	}
	s.setNames(n.Name, n.Status, n.Reverse, n.ReverseStatus)
}

// proxyHeader reads the header of HAProxy's PROXY protocol, version 1 or 2.
func (s *session) proxyHeader() error {
	if err := s.conn.SetReadDeadline(time.Now().Add(s.set.proxyTimeout)); err != nil {
		return err
	}
	raw, err := readProxyHeader(s.conn)
	if err != nil {
		return err
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return err
	}
	if h.Command.IsLocal() {
		if h.Version == 1 {
			return errors.New("the proxy does not know the client's address")
		}
		return nil // the proxy speaks for itself
	}
	client, server, ok := h.TCPAddrs()
	if !ok {
		return errors.New("the proxy's header has no TCP addresses")
	}
	s.setEnds(client, server)
	return nil
}

// readProxyHeader reads a header and not a byte more.
func readProxyHeader(r io.Reader) ([]byte, error) {
	const v1Max = 107
	h := make([]byte, 16)
	if _, err := io.ReadFull(r, h[:6]); err != nil {
		return nil, err
	}
	if string(h[:6]) == "PROXY " {
		h = h[:6]
		for len(h) < v1Max {
			b := make([]byte, 1)
			if _, err := io.ReadFull(r, b); err != nil {
				return nil, err
			}
			h = append(h, b[0])
			if b[0] == '\n' {
				return h, nil
			}
		}
		return nil, errors.New("protocol header is too long")
	}
	if string(h[:6]) != "\r\n\r\n\x00\r" {
		return nil, fmt.Errorf("unexpected protocol header %q", h[:6])
	}
	if _, err := io.ReadFull(r, h[6:]); err != nil {
		return nil, err
	}
	rest := make([]byte, int(h[14])<<8|int(h[15]))
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, err
	}
	return append(h, rest...), nil
}
