package rimap

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
)

// said is a connection whose server has said everything beforehand.
type said struct {
	net.Conn
	io.Reader
}

func (s said) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s said) Write(b []byte) (int, error) { return len(b), nil }

// FuzzServer: whatever a server says, only its tagged OK is a login.
func FuzzServer(f *testing.F) {
	for _, s := range []string{
		"* OK [CAPABILITY IMAP4rev1] hi\r\nS1 OK in\r\n",
		"* OK hi\r\n* CAPABILITY IMAP4rev1 LOGINDISABLED\r\nS1 OK done\r\nS2 NO [PRIVACYREQUIRED] no\r\n",
		"* OK [CAPABILITY X] hi\r\n+ go on\r\nS1 OK [] in\r\n",
		"* PREAUTH in\r\n",
		"* OK [",
	} {
		f.Add([]byte(s), "pässword")
	}
	f.Fuzz(func(t *testing.T, b []byte, password string) {
		c := &conn{Conn: said{}, r: bufio.NewReaderSize(bytes.NewReader(b), maxLine)}
		if c.greeting() != nil || c.askCapabilities() != nil {
			return
		}
		r, err := c.login("bob", password)
		text := strings.ToUpper(string(b))
		if err == nil && r.status == "OK" && !strings.Contains(text, "S1 OK") && !strings.Contains(text, "S2 OK") {
			t.Errorf("%q is taken for a login", b)
		}
	})
}
