package main

import (
	"bufio"
	"bytes"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// sink is the next hop: a mail server that takes everything and keeps nothing.
type sink struct {
	l     net.Listener
	taken atomic.Int64 // messages
	mu    sync.Mutex
	open  map[net.Conn]bool
	ended sync.WaitGroup
}

// openSink starts a sink on a free port.
func openSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &sink{l: l, open: map[net.Conn]bool{}}
	k.ended.Go(k.accept)
	return k, nil
}

// port is where it listens at 127.0.0.1.
func (k *sink) port() int { return k.l.Addr().(*net.TCPAddr).Port }

// close ends all its sessions.
func (k *sink) close() error {
	err := k.l.Close()
	k.mu.Lock()
	for conn := range k.open {
		conn.Close()
	}
	k.mu.Unlock()
	k.ended.Wait()
	return err
}

func (k *sink) accept() {
	for {
		conn, err := k.l.Accept()
		if err != nil {
			return
		}
		k.mu.Lock()
		k.open[conn] = true
		k.mu.Unlock()
		k.ended.Go(func() {
			k.serve(conn)
			conn.Close()
			k.mu.Lock()
			delete(k.open, conn)
			k.mu.Unlock()
		})
	}
}

// serve answers until the client leaves.
func (k *sink) serve(conn net.Conn) {
	r := bufio.NewReaderSize(conn, 16*1024)
	out := []byte("220 sink.test ESMTP\r\n")
	for {
		if r.Buffered() == 0 { // a client that pipelines gets its answers at once
			if _, err := conn.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(string(line[:min(4, len(line))])); verb {
		case "EHLO":
			out = append(out, "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"...)
		case "DATA":
			if _, err := conn.Write(append(out, "354 Go ahead\r\n"...)); err != nil || swallow(r) != nil {
				return
			}
			k.taken.Add(1)
			out = append(out[:0], "250 2.0.0 Ok: gone\r\n"...)
		case "QUIT":
			_, _ = conn.Write(append(out, "221 2.0.0 Bye\r\n"...)) // it leaves anyway
			return
		default:
			out = append(out, "250 2.0.0 Ok\r\n"...)
		}
	}
}

// swallow reads a message up to its dot.
func swallow(r *bufio.Reader) error {
	for whole := true; ; {
		line, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
		if whole && bytes.Equal(line, []byte(".\r\n")) {
			return nil
		}
		whole = err == nil
	}
}
