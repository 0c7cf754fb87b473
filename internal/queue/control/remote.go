package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
)

// remote is the spool of a running server. Its directory is open.
type remote struct {
	addr *net.UnixAddr
	dir  io.Closer
}

// dial finds out whether a server answers.
func dial(dir string) (*remote, error) {
	addr, d, err := socket(dir)
	if err != nil {
		return nil, err
	}
	r := &remote{addr: addr, dir: d}
	conn, err := r.connect()
	if err != nil {
		d.Close()
		return nil, err
	}
	return r, conn.Close()
}

func (r *remote) connect() (*net.UnixConn, error) { return net.DialUnix("unix", nil, r.addr) }

// Close forgets the server.
func (r *remote) Close() error { return r.dir.Close() }

// ask sends a request.
func (r *remote) ask(q request) (*net.UnixConn, *bufio.Reader, error) {
	conn, err := r.connect()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", q.Op, err)
	}
	if err := json.NewEncoder(conn).Encode(q); err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("%s: %w", q.Op, err)
	}
	return conn, bufio.NewReader(conn), nil
}

// hear reads one line of an answer.
func hear(r *bufio.Reader) (a answer, err error) {
	line, err := r.ReadBytes('\n')
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		return a, fmt.Errorf("answer of the server: %w", err)
	}
	if a.Error != "" {
		return a, &remoteError{text: a.Error, cause: codes[a.Code]}
	}
	return a, nil
}

// remoteError is an error that happened in the server.
type remoteError struct {
	text  string
	cause error
}

// Error returns the server's words.
func (e *remoteError) Error() string { return e.text }

// Unwrap returns the error of package queue that it was, if it was one.
func (e *remoteError) Unwrap() error { return e.cause }

// one asks for something with an answer of one line.
func (r *remote) one(q request) (a answer, err error) {
	conn, in, err := r.ask(q)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	return hear(in)
}

// All yields every message.
func (r *remote) All() iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		conn, in, err := r.ask(request{Op: "list"})
		if err != nil {
			yield(Message{}, err)
			return
		}
		defer conn.Close()
		for {
			a, err := hear(in)
			if err != nil {
				yield(Message{}, err)
				return
			}
			if a.End || a.Message != nil && !yield(*a.Message, nil) {
				return
			}
		}
	}
}

// Show returns one message.
func (r *remote) Show(id string) (Message, error) {
	a, err := r.one(request{Op: "show", ID: id})
	if err == nil && a.Message == nil {
		err = errors.New("answer of the server: no message in it")
	}
	if err != nil {
		return Message{}, err
	}
	return *a.Message, nil
}

// Content opens a message.
func (r *remote) Content(id string) (io.ReadCloser, error) {
	conn, in, err := r.ask(request{Op: "content", ID: id})
	if err != nil {
		return nil, err
	}
	a, err := hear(in)
	if err == nil && a.Length == nil {
		err = errors.New("answer of the server: no content in it")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &content{conn, in, *a.Length}, nil
}

// content is content on its way.
type content struct {
	io.Closer
	r    *bufio.Reader
	left int64
}

// Read reads on; the server stops early when the content turns out to be
// damaged.
func (c *content) Read(p []byte) (int, error) {
	if c.left == 0 {
		_, err := hear(c.r) // the end, or what went wrong
		if err == nil {
			err = io.EOF
		}
		return 0, err
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err == io.EOF && c.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *remote) do(op, id string) error {
	_, err := r.one(request{Op: op, ID: id})
	return err
}

// Hold keeps a message.
func (r *remote) Hold(id string) error { return r.do("hold", id) }

// Release ends Hold.
func (r *remote) Release(id string) error { return r.do("release", id) }

// Requeue makes a message due.
func (r *remote) Requeue(id string) error { return r.do("requeue", id) }

// Expire has a message returned.
func (r *remote) Expire(id string) error { return r.do("expire", id) }

// Delete takes a message out of the queue.
func (r *remote) Delete(id string) error { return r.do("delete", id) }

// FlushMessage makes a message due that is not on hold.
func (r *remote) FlushMessage(id string) error { return r.do("flush message", id) }

// Flush makes all messages due that are not on hold.
func (r *remote) Flush() error { return r.do("flush", "") }

// FlushSite makes the messages for a domain due.
func (r *remote) FlushSite(domain string) (int, error) {
	a, err := r.one(request{Op: "flush site", Domain: domain})
	return a.Count, err
}
