package conformance

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"time"
)

// listening is the state of a listening socket in /proc/net/tcp.
const listening = "0A"

// waitRead returns when the server has read everything sent to it: when the
// receive queue of its end of conn, which is on this machine, is empty.
func waitRead(conn *net.TCPConn) error {
	server, client := procAddress(conn.RemoteAddr()), procAddress(conn.LocalAddr())
	return await("the server to read what was sent", func(row [][]byte) bool {
		return string(row[1]) == server && string(row[2]) == client && bytes.HasSuffix(row[4], []byte(":00000000"))
	})
}

// lastPort is the last of the ports in master.cf, from 2510 on.
const lastPort = 2524

// awaitServer returns when the server listens at all the ports of the site.
func awaitServer() error {
	for port := 2510; port <= lastPort; port++ {
		if err := awaitListener(fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
			return err
		}
	}
	return awaitListener("127.0.0.1:25")
}

// awaitListener returns when somebody listens at the address. It looks at the
// kernel's table: a connection would be a client to the server.
func awaitListener(address string) error {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return err
	}
	local := procAddress(a)
	return await("somebody to listen at "+address, func(row [][]byte) bool {
		return string(row[1]) == local && string(row[3]) == listening
	})
}

func await(what string, match func(row [][]byte) bool) error {
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			return err
		}
		for row := range bytes.Lines(table) {
			if f := bytes.Fields(row); len(f) > 4 && match(f) {
				return nil
			}
		}
	}
	return fmt.Errorf("waited in vain for %s", what)
}

// procAddress writes an IPv4 address as /proc/net/tcp does on a little-endian
// machine.
func procAddress(a net.Addr) string {
	t := a.(*net.TCPAddr)
	ip := t.IP.To4()
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], t.Port)
}
