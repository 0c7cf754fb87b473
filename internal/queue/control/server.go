package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sekisho/internal/mail"
	"sekisho/internal/queue"
)

// requestTime is how long a client may take to send his request, and to take
// one line of the answer.
const requestTime = 30 * time.Second

// maxRequest is how long a request may be: one with very many recipients.
const maxRequest = 16 << 20

// request asks for one thing.
type request struct {
	Op     string `json:"op"`
	ID     string `json:"id,omitempty"`
	Domain string `json:"domain,omitempty"`

	Submission *Submission `json:"submission,omitempty"` // its content follows
}

// answer is one line of an answer.
type answer struct {
	Message *Message    `json:"message,omitempty"`
	Length  *int64      `json:"length,omitempty"` // of the content that follows
	Count   int         `json:"count,omitempty"`
	Refused *mail.Reply `json:"refused,omitempty"` // of a submission
	Error   string      `json:"error,omitempty"`
	Code    string      `json:"code,omitempty"` // of an error that the client should recognise
	End     bool        `json:"end,omitempty"`
}

// codes are errors that pass the socket.
var codes = map[string]error{
	"not found": queue.ErrNotFound, "not held": queue.ErrNotHeld, "damaged": queue.ErrDamaged, "denied": ErrDenied,
}

// Server answers queue commands.
type Server struct {
	service atomic.Pointer[Service] // nil until Use
	spool   *local
	o       queue.Options
	ln      *net.UnixListener
	busy    sync.WaitGroup
	dir     string          // of the spool
	used    chan struct{}   // closed by the first Use
	ctx     context.Context // ends with Close
	end     context.CancelFunc
}

// Serve answers queue commands about the queue that is open in dir, until
// Close.
func Serve(q *queue.Queue, dir string, o queue.Options) (*Server, error) {
	// Whoever has the queue open is the only server: what is there is a rest.
	if err := os.Remove(filepath.Join(dir, socketName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	addr, d, err := socket(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	ln, err := net.ListenUnix("unix", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, socketName), err)
	}
	ln.SetUnlinkOnClose(false) // its name goes through a descriptor
	// Everybody may ask; who it is decides about the answer.
	if err := errors.Join(os.Chmod(dir, 0o711), os.Chmod(filepath.Join(dir, socketName), 0o666)); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	s := &Server{spool: &local{q, o.Clock.Now}, o: o, ln: ln, used: make(chan struct{}), dir: dir}
	s.ctx, s.end = context.WithCancel(context.Background())
	if err := s.openMaildrop(); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	s.busy.Go(s.accept)
	s.busy.Go(s.pickUp)
	return s, nil
}

// Use has the server obey a configuration from now on.
func (s *Server) Use(service Service) {
	if s.service.Swap(&service) == nil {
		close(s.used)
	}
}

// Close ends the server; requests that have come are answered.
func (s *Server) Close() error {
	s.end()
	err := s.ln.Close()
	s.busy.Wait()
	return err
}

func (s *Server) accept() {
	for {
		conn, err := s.ln.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, for example
			s.o.Log.Error("queue commands: " + err.Error())
			_ = s.o.Clock.Sleep(s.ctx, time.Second)
			continue
		}
		s.busy.Go(func() {
			defer conn.Close()
			// Whoever has not asked by then is not waited for.
			defer context.AfterFunc(s.ctx, func() { _ = conn.SetReadDeadline(time.Now()) })()
			if err := s.serve(conn); err != nil && s.ctx.Err() == nil {
				s.o.Log.Warn("queue command: " + err.Error())
			}
		})
	}
}

// client is one who asks.
type client struct {
	net.Conn
	in  *bufio.Reader
	who caller
	w   *bufio.Writer
	e   *json.Encoder
}

// Write writes with a limit of time.
func (c *client) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(requestTime)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (s *Server) serve(conn *net.UnixConn) error {
	if err := conn.SetReadDeadline(time.Now().Add(requestTime)); err != nil {
		return err
	}
	limited := &io.LimitedReader{R: conn, N: maxRequest}
	in := bufio.NewReader(limited)
	line, err := in.ReadBytes('\n')
	if err == io.EOF && len(line) == 0 {
		return nil // only looked whether there is a server
	}
	if err != nil {
		return err
	}
	limited.N = math.MaxInt64
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("request %.100q: %w", line, err)
	}
	who, err := peer(conn)
	if err != nil {
		return err
	}
	c := &client{Conn: conn, in: in, who: who}
	c.w = bufio.NewWriterSize(c, 32<<10)
	c.e = json.NewEncoder(c.w)
	last, err := s.do(c, r)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Op, err)
	}
	last.End = true
	return errors.Join(c.e.Encode(last), c.w.Flush())
}

// do does what is asked and returns the last line of the answer; the error is
// that of the connection.
func (s *Server) do(c *client, r request) (last answer, err error) {
	if err := s.allow(c.who, r.Op); err != nil {
		return failed(err), nil
	}
	switch r.Op {
	case "list":
		return last, s.list(c)
	case "show":
		m, err := s.spool.Show(r.ID)
		if err != nil {
			return failed(err), nil
		}
		return answer{Message: &m}, nil
	case "content":
		return s.content(c, r.ID)
	case "flush site":
		last.Count, err = s.spool.FlushSite(r.Domain)
		return last, err
	case "submit":
		return s.submit(c, c.in, c.who, r.Submission), nil
	}
	if f := s.spool.operation(r.Op); f != nil {
		err := f(r.ID)
		s.note(r, err)
		return failed(err), nil
	}
	return failed(fmt.Errorf("the server knows no request %q", r.Op)), nil
}

// done are what was done to a message, in the words of Postfix's log.
var done = map[string]string{
	"hold": "placed on hold", "release": "released from hold", "requeue": "requeued", "expire": "expired", "delete": "removed",
}

// note logs what was done to a message.
func (s *Server) note(r request, err error) {
	if word := done[r.Op]; word != "" && err == nil {
		if service := s.service.Load(); service != nil {
			service.Log.Info(r.ID + ": " + word)
		}
	}
}

// operation returns what is done to one message, or to all, by name.
func (l *local) operation(op string) func(id string) error {
	switch op {
	case "hold":
		return l.Hold
	case "release":
		return l.Release
	case "requeue":
		return l.Requeue
	case "expire":
		return l.Expire
	case "delete":
		return l.Delete
	case "flush message":
		return l.FlushMessage
	case "flush":
		return func(string) error { return l.Flush() }
	}
	return nil
}

func failed(err error) answer {
	if err == nil {
		return answer{}
	}
	a := answer{Error: err.Error()}
	for code, e := range codes {
		if errors.Is(err, e) {
			a.Code = code
		}
	}
	return a
}

func (s *Server) list(c *client) error {
	for m := range s.spool.All() {
		if !c.who.full {
			m.Envelope.Client = mail.Client{}
		}
		if err := c.e.Encode(answer{Message: &m}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) content(c *client, id string) (last answer, err error) {
	m, err := s.spool.Show(id)
	if err != nil {
		return failed(err), nil
	}
	r, err := s.spool.Content(id)
	if err != nil {
		return failed(err), nil
	}
	defer r.Close()
	if err := c.e.Encode(answer{Length: &m.Bytes}); err != nil {
		return last, err
	}
	_, err = io.Copy(c.w, r)
	return last, err
}
