package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// packets is a connection whose input comes in pieces of the given size.
type packets struct {
	net.Conn // not used
	in       string
	piece    int
}

func (p *packets) Read(b []byte) (int, error) {
	if p.in == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.piece)], p.in)
	p.in = p.in[n:]
	return n, nil
}

func (p *packets) SetReadDeadline(time.Time) error { return nil }

func feed(in string, piece int) *Conn { return New(&packets{in: in, piece: piece}) }

func TestReadLine(t *testing.T) {
	for _, c := range []struct {
		name, in string
		limit    int
		strict   bool
		want     []string // text, then "+" complete, "b" bare
	}{
		{"plain", "one\r\ntwo\r\n", 100, true, []string{"one+", "two+"}},
		{"bare", "one\ntwo\r\n\n", 100, true, []string{"one+b", "two+", "+b"}},
		{"all CRs", "one\r\r\n", 100, false, []string{"one+"}},
		{"one CR", "one\r\r\n", 100, true, []string{"one\r+"}},
		{"cut", "abcdef\r\n", 4, true, []string{"abcd", "ef+"}},
		{"cut at the end", "abcd\r\n", 4, true, []string{"abcd", "+"}},
		{"not between CR and LF", "abc\r\nx\r\n", 4, true, []string{"abc+", "x+"}},
		{"CR at the limit", "abc\rdef\n", 4, true, []string{"abc\r", "def+b"}},
		{"NUL", "a\x00b\r\n", 100, true, []string{"a\x00b+"}},
	} {
		for _, piece := range []int{1, 2, 3, 1000} {
			conn := feed(c.in, piece)
			conn.SetStrict(c.strict)
			var got []string
			for {
				l, err := conn.ReadLine(c.limit)
				if err != nil {
					if err != io.EOF {
						t.Errorf("%s: %v", c.name, err)
					}
					break
				}
				s := string(l.Text)
				if l.Complete {
					s += "+"
				}
				if l.BareLF {
					s += "b"
				}
				got = append(got, s)
			}
			if strings.Join(got, "|") != strings.Join(c.want, "|") {
				t.Errorf("%s in pieces of %d: got %q, want %q", c.name, piece, got, c.want)
			}
		}
	}
}

func TestReadCommandSkipsTheRest(t *testing.T) {
	conn := feed(strings.Repeat("x", 10000)+"\r\nQUIT\r\n", 700)
	l, err := conn.ReadCommand(20)
	if err != nil || l.Complete || len(l.Text) != 20 {
		t.Fatalf("long line: %d bytes, complete %v, %v", len(l.Text), l.Complete, err)
	}
	if l, err = conn.ReadCommand(20); err != nil || string(l.Text) != "QUIT" {
		t.Fatalf("after it: %q, %v", l.Text, err)
	}
}

// content reads all of a message and returns its lines, and what is left.
func content(t *testing.T, conn *Conn, limit int) (lines, rest string, err error) {
	t.Helper()
	d := NewData(conn, limit)
	var b strings.Builder
	for {
		l, err := d.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return b.String(), "", err
		}
		b.Write(l.Text)
		if l.Complete {
			b.WriteByte('\n')
		}
	}
	for {
		l, err := conn.ReadLine(1000)
		if err != nil {
			return b.String(), rest, nil
		}
		rest += string(l.Text) + "\n"
	}
}

func TestDataEndsWhereItMay(t *testing.T) {
	const after = "MAIL\r\n.\r\n"
	for _, c := range []struct {
		in                 string
		loose, looseRest   string
		strict, strictRest string
	}{
		{"a\r\n.\r\n" + after, "a\n", "MAIL\n.\n", "a\n", "MAIL\n.\n"},
		{"a\n.\n" + after, "a\n", "MAIL\n.\n", "a\nMAIL\n", ""},
		{"a\n.\r\n" + after, "a\n", "MAIL\n.\n", "a\nMAIL\n", ""},
		{"a\r\n.\n" + after, "a\n", "MAIL\n.\n", "a\nMAIL\n", ""},
		{"a\r\n.\r\r\n" + after, "a\n", "MAIL\n.\n", "a\n\r\nMAIL\n", ""},
		{"a\r.\r" + after, "a\r.\rMAIL\n", "", "a\r.\rMAIL\n", ""},
		{"..a\r\n.b\r\n...\r\n.\r\n", ".a\nb\n..\n", "", ".a\nb\n..\n", ""},
	} {
		for _, strict := range []bool{false, true} {
			conn := feed(c.in, 3)
			conn.SetStrict(strict)
			want, wantRest := c.loose, c.looseRest
			if strict {
				want, wantRest = c.strict, c.strictRest
			}
			got, rest, err := content(t, conn, 1000)
			if err != nil || got != want || rest != wantRest {
				t.Errorf("%q, strict %v: got %q and %q (%v), want %q and %q", c.in, strict, got, rest, err, want, wantRest)
			}
		}
	}
}

func TestDataInPiecesIsNotTakenForDots(t *testing.T) {
	conn := feed("abcd.\r\n.efgh\r\n.\r\n", 100)
	got, _, err := content(t, conn, 4)
	if err != nil || got != "abcd.\nefgh\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestDataCutOff(t *testing.T) {
	conn := feed("abc\r\nno end", 100)
	if _, _, err := content(t, conn, 100); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v", err)
	}
}

// pair is a connection over the loopback device.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestWaitingSeesTheSocket(t *testing.T) {
	client, server := pair(t)
	conn := New(server)
	if conn.Waiting() {
		t.Fatal("nothing was sent")
	}
	io.WriteString(client, "EHLO x\r\nMAIL\r\n")
	if err := conn.Await(0); err != nil {
		t.Fatal(err)
	}
	if l, err := conn.ReadLine(100); err != nil || string(l.Text) != "EHLO x" {
		t.Fatalf("%q, %v", l.Text, err)
	}
	if !conn.Waiting() || string(conn.Peek(100)) != "MAIL\r\n" {
		t.Errorf("waiting: %q", conn.Peek(100))
	}
}

func TestOutputLeavesWhenInputIsNeeded(t *testing.T) {
	client, server := pair(t)
	conn := New(server)
	io.WriteString(client, "a\r\nb\r\n")
	for range 2 {
		if _, err := conn.ReadLine(100); err != nil {
			t.Fatal(err)
		}
		conn.WriteString("250 Ok\r\n")
	}
	client.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := client.Read(make([]byte, 100)); err == nil {
		t.Fatalf("%d bytes left before input was needed", n)
	}
	client.SetReadDeadline(time.Time{})
	go conn.Await(0)
	got := make([]byte, len("250 Ok\r\n")*2)
	if _, err := io.ReadFull(client, got); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptEndsTheWaitOnly(t *testing.T) {
	client, server := pair(t)
	conn := New(server)
	done := make(chan error)
	go func() { done <- conn.Await(0) }()
	conn.Interrupt()
	if err := <-done; !errors.Is(err, ErrInterrupted) {
		t.Fatalf("got %v", err)
	}
	io.WriteString(client, "more\r\n")
	if l, err := conn.ReadLine(100); err != nil || string(l.Text) != "more" {
		t.Errorf("reading goes on: %q, %v", l.Text, err)
	}
	if err := conn.Await(0); !errors.Is(err, ErrInterrupted) {
		t.Errorf("the next wait: %v", err)
	}
}

func TestTimeout(t *testing.T) {
	_, server := pair(t)
	conn := New(server)
	conn.SetTimeout(10*time.Millisecond, false, 0)
	if err := conn.Await(0); !Timeout(err) {
		t.Errorf("got %v", err)
	}
}

func TestSwitchForgetsWhatWasRead(t *testing.T) {
	client, server := pair(t)
	conn := New(server)
	io.WriteString(client, "STARTTLS\r\nMAIL\r\n")
	if _, err := conn.ReadLine(100); err != nil {
		t.Fatal(err)
	}
	conn.Switch(&packets{in: "EHLO\r\n", piece: 100})
	if l, err := conn.ReadLine(100); err != nil || string(l.Text) != "EHLO" {
		t.Errorf("got %q, %v", l.Text, err)
	}
}

// FuzzReadLine: however the input is cut into packets, the lines are the same,
// and together they are the input.
func FuzzReadLine(f *testing.F) {
	f.Add([]byte("a\r\nb\nc\r\r\n"), 5, true)
	f.Add([]byte("abcdefgh\r\n"), 4, false)
	f.Fuzz(func(t *testing.T, in []byte, limit int, strict bool) {
		if limit < 1 || limit > 1<<16 {
			return
		}
		all := func(piece int) (out []string) {
			conn := feed(string(in), piece)
			conn.SetStrict(strict)
			for {
				l, err := conn.ReadLine(limit)
				if err != nil {
					return out
				}
				if len(l.Text) > limit || bytes.IndexByte(l.Text, '\n') >= 0 {
					t.Fatalf("line %q", l.Text)
				}
				out = append(out, string(l.Text))
			}
		}
		a, b := all(len(in)+1), all(3)
		if strings.Join(a, "\n") != strings.Join(b, "\n") {
			t.Errorf("%q: %q in one packet, %q in many", in, a, b)
		}
	})
}

// FuzzData: strict content ends at the first CRLF.CRLF and nowhere else.
func FuzzData(f *testing.F) {
	f.Add([]byte("a\n.\nb\r\n.\r\nQUIT\r\n"))
	f.Add([]byte(".\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		conn := feed(string(in), 7)
		conn.SetStrict(true)
		d := NewData(conn, 100)
		for {
			_, err := d.Next()
			if err == nil {
				continue
			}
			end := bytes.Index(append([]byte("\r\n"), in...), []byte("\r\n.\r\n"))
			if ended := err == io.EOF; ended != (end >= 0) {
				t.Errorf("%q: ended %v, end mark at %d", in, ended, end)
			}
			return
		}
	})
}

// TestPatience has an Await go on after its patience was over, with the time
// that it had left.
func TestPatience(t *testing.T) {
	client, server := pair(t)
	conn := New(server)
	conn.SetTimeout(50*time.Millisecond, false, 0)
	begun := time.Now()
	silent := 0
	var err error
	for err = conn.Await(time.Millisecond); errors.Is(err, ErrSilent); err = conn.Await(time.Millisecond) {
		silent++
		if socket, until := conn.Silence(); socket == nil || until.Sub(begun) > time.Second {
			t.Fatalf("Silence: %v, %v", socket, until)
		}
	}
	if took := time.Since(begun); !Timeout(err) || silent == 0 || took < 50*time.Millisecond {
		t.Errorf("%v after %v, %d times silent; want a timeout after 50ms", err, took, silent)
	}

	conn.SetTimeout(20*time.Second, false, 0)
	if err := conn.Await(time.Millisecond); !errors.Is(err, ErrSilent) {
		t.Fatalf("%v, want silence", err)
	}
	io.WriteString(client, "a\r\n")
	if err := conn.Await(0); err != nil {
		t.Fatal(err)
	}
	if l, err := conn.ReadLine(100); err != nil || string(l.Text) != "a" {
		t.Errorf("%q, %v", l.Text, err)
	}
}
