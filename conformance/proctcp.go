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

// awaitSocket returns when there is a socket with this address in this state.
func awaitSocket(address, state string) error {
	return await("somebody to listen", func(row [][]byte) bool {
		return string(row[1]) == address && string(row[3]) == state
	})
}

func await(what string, match func(row [][]byte) bool) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
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
