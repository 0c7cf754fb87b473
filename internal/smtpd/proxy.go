package smtpd

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"

	proxyproto "github.com/pires/go-proxyproto"
)

// proxyHeader is what HAProxy's PROXY protocol says of a connection.
type proxyHeader struct {
	local          bool // the proxy speaks for itself
	client, server netip.AddrPort
}

// What is wrong with a header, in Postfix's words.
var (
	errProxyShort    = errors.New("short protocol header")
	errProxyUnknown  = errors.New("unrecognized protocol header")
	errProxyEnd      = errors.New("missing protocol header terminator")
	errProxyProtocol = errors.New("bad or missing protocol type")
)

const (
	proxyV1Max = 107 // bytes of a version 1 header
	proxyV2Min = 16  // bytes of a version 2 header without addresses
)

// readProxyHeader reads a header and not a byte more. With an error it returns
// what has come so far.
func readProxyHeader(r io.Reader) ([]byte, error) {
	h := make([]byte, 1, proxyV1Max)
	if _, err := io.ReadFull(r, h); err != nil {
		return nil, err
	}
	if h[0] == '\r' {
		return readProxyV2(r, h)
	}
	b := make([]byte, 1)
	for h[len(h)-1] != '\n' {
		if len(h) == proxyV1Max {
			return h, errProxyEnd
		}
		if _, err := io.ReadFull(r, b); err != nil {
			return h, err
		}
		h = append(h, b[0])
	}
	if len(h) < len(proxyproto.SIGV2) {
		return h, errProxyShort
	}
	return h, nil
}

func readProxyV2(r io.Reader, h []byte) ([]byte, error) {
	h = h[:proxyV2Min]
	if _, err := io.ReadFull(r, h[1:]); err != nil {
		return h, err
	}
	if !bytes.HasPrefix(h, proxyproto.SIGV2) {
		return h, errProxyUnknown
	}
	rest := make([]byte, int(h[14])<<8|int(h[15]))
	_, err := io.ReadFull(r, rest)
	return append(h, rest...), err
}

// parseProxyHeader reads a complete header. Addresses of a protocol that is
// not in use here are refused.
func parseProxyHeader(raw []byte, use protocols) (proxyHeader, error) {
	if raw[0] != '\r' {
		return parseProxyV1(string(raw), use)
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return proxyHeader{}, err
	}
	if h.Command.IsLocal() {
		return proxyHeader{local: true}, nil
	}
	client, server, ok := h.TCPAddrs()
	if !ok {
		return proxyHeader{}, errProxyProtocol
	}
	p := proxyHeader{client: plain(client.AddrPort()), server: plain(server.AddrPort())}
	if !use.speaks(p.client.Addr().String()) {
		return proxyHeader{}, errProxyProtocol
	}
	return p, nil
}

func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// parseProxyV1 reads the text form: PROXY TCP4 client server port port.
func parseProxyV1(line string, use protocols) (proxyHeader, error) {
	w := append(strings.Fields(line), make([]string, 6)...) // missing words are empty
	v4 := w[1] == "TCP4" && use.v4
	switch {
	case w[0] != "PROXY":
		return proxyHeader{}, errProxyUnknown
	case !v4 && !(w[1] == "TCP6" && use.v6):
		return proxyHeader{}, errProxyProtocol
	}
	var h proxyHeader
	var err error
	if h.client, err = proxyEndpoint(w[2], w[4], v4, "client"); err != nil {
		return h, err
	}
	h.server, err = proxyEndpoint(w[3], w[5], v4, "server")
	return h, err
}

func proxyEndpoint(addr, port string, v4 bool, who string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Is4() != v4 {
		return netip.AddrPort{}, errors.New("bad or missing " + who + " address")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, errors.New("bad or missing " + who + " port")
	}
	return netip.AddrPortFrom(a, uint16(n)), nil
}
