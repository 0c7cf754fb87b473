package smtpd

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"sekisho/internal/mail"
	"sekisho/internal/wire"
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
	s.lookupName()
	return err
}

// setEnds sets the addresses of both ends.
func (s *session) setEnds(client, server net.Addr) {
	s.facts.ClientAddress, s.facts.ClientPort = endpoint(client)
	s.facts.SocketAddress = s.facts.ClientAddress
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
	s.facts.LogInternal = s.set.logInternal
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

// proxyHeader takes the addresses from the header of HAProxy's PROXY protocol.
func (s *session) proxyHeader() error {
	if err := s.conn.SetReadDeadline(time.Now().Add(s.set.proxyTimeout)); err != nil {
		return err
	}
	raw, err := readProxyHeader(s.conn)
	var h proxyHeader
	if err == nil {
		h, err = parseProxyHeader(raw, s.set.protocols)
	}
	switch {
	case wire.Timeout(err):
		s.warn("haproxy read: timeout error")
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		s.warn("haproxy read: EOF")
	case err != nil:
		s.warn("haproxy read: %v: %s", err, escape(raw))
	case !h.local:
		s.facts.ClientAddress, s.facts.ClientPort = h.client.Addr().String(), strconv.Itoa(int(h.client.Port()))
		s.facts.SocketAddress = s.facts.ClientAddress
		s.facts.ServerAddress, s.facts.ServerPort = h.server.Addr().String(), strconv.Itoa(int(h.server.Port()))
	}
	return err
}
