package smtp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"sekisho/internal/deliver"
)

// chunkServer is a server that takes BDAT. answers are those to the chunks in
// turn; what they do not say is yes.
type chunkServer struct {
	answers []string
	data    strings.Builder
	said    []string
}

func (s *chunkServer) serve(conn net.Conn, ehlo string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	io.WriteString(conn, "220 srv.test ESMTP\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		s.said = append(s.said, strings.TrimRight(line, "\r\n"))
		answer := "250 2.0.0 ok"
		var n int64
		switch {
		case strings.HasPrefix(line, "EHLO"):
			answer = ehlo
		case strings.HasPrefix(line, "BDAT"):
			if _, err := fmt.Sscanf(line, "BDAT %d", &n); err != nil {
				return
			}
			if _, err := io.CopyN(&s.data, r, n); err != nil {
				return
			}
			if len(s.answers) > 0 {
				answer, s.answers = s.answers[0], s.answers[1:]
			}
		}
		if answer == "" {
			return
		}
		io.WriteString(conn, strings.ReplaceAll(answer, "\n", "\r\n")+"\r\n")
		if strings.HasPrefix(line, "QUIT") {
			return
		}
	}
}

// By BDAT a message arrives as it is, in pieces, and what the server says of a
// piece or of the whole counts.
func TestChunking(t *testing.T) {
	large := strings.Repeat(".a line that begins with a dot\n", 20000) // three chunks
	for name, c := range map[string]struct {
		content string
		answers []string
		want    string // of the first recipient
		chunks  int
	}{
		"small":           {".dot\n..\n", nil, "sent 2.0.0", 2},
		"empty":           {"", nil, "sent 2.0.0", 1},
		"large":           {large, nil, "sent 2.0.0", 4},
		"refused early":   {large, []string{"552 5.3.4 too much"}, "bounced 5.3.4", 1},
		"refused at last": {".x\n", []string{"250 ok", "550 5.6.0 spam"}, "bounced 5.6.0", 2},
		"later":           {".x\n", []string{"250 ok", "451 4.3.0 busy"}, "deferred 4.3.0", 2},
		"lost":            {".x\n", []string{"250 ok", ""}, "deferred 4.4.2", 2},
		"lost early":      {large, []string{""}, "deferred 4.4.2", 1},
	} {
		for _, more := range []string{"", "250-PIPELINING\n"} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := &chunkServer{answers: c.answers}
			done := make(chan struct{})
			go func() {
				defer close(done)
				if conn, err := l.Accept(); err == nil {
					s.serve(conn, "250-srv.test\n250-8BITMIME\n"+more+"250 CHUNKING")
				}
			}()
			a, _ := newAgent(t)
			a.Chunking = true
			_, port, _ := net.SplitHostPort(l.Addr().String())
			r := a.Deliver(t.Context(), request("[127.0.0.1]:"+port, c.content))[0]
			l.Close()
			<-done
			if got := r.Status.String() + " " + r.DSN; got != c.want {
				t.Errorf("%s: %+v, want %s", name, r, c.want)
			}
			said := strings.Join(s.said, "|")
			if n := strings.Count(said, "BDAT"); n != c.chunks || strings.Contains(said, "DATA|") || !strings.Contains(said, " LAST") && r.Status == deliver.Sent {
				t.Errorf("%s: %d chunks, want %d: %s", name, n, c.chunks, said)
			}
			if want := strings.ReplaceAll(c.content, "\n", "\r\n"); r.Status == deliver.Sent && s.data.String() != want {
				t.Errorf("%s: %d bytes arrived, want %d", name, s.data.Len(), len(want))
			}
		}
	}
}

// Without a recipient there is nothing to send.
func TestChunkingWithoutRecipients(t *testing.T) {
	s := &server{replies: map[string]string{"EHLO": "250-srv.test\n250-PIPELINING\n250 CHUNKING", "RCPT": "550 5.1.1 nobody"}}
	port := s.listen(t, "127.0.0.1", "0")
	a, _ := newAgent(t)
	a.Chunking = true
	if r := a.Deliver(t.Context(), request("[127.0.0.1]:"+port, "x\n"))[0]; r.DSN != "5.1.1" || strings.Contains(s.said(), "BDAT") || !strings.Contains(s.said(), "RSET") {
		t.Errorf("%+v: %s", r, s.said())
	}
}
