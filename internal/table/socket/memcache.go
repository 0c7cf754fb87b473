package socket

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Memcache gets values from memcached, and puts them there. The fields are
// parameters of memcache_table(5).
type Memcache struct {
	Name     string // of the table's file, for warnings
	Pool     *Pool
	Warn     func(string)
	TTL      int // seconds, as memcached reads them
	Flags    int
	Pause    time.Duration // between tries
	MaxTries int
	MaxLine  int // of a reply, bytes
	MaxData  int // of a value, bytes
}

// Get asks for a key, which must have no white space.
func (m *Memcache) Get(key string) (value string, found bool, err error) {
	err = m.try(func(c *conn) (err error) {
		value, found, err = m.get(c, key)
		return err
	})
	return value, found, err
}

// Set stores a value; one that is too long is not stored, with a warning.
func (m *Memcache) Set(key, value string) error {
	if len(value) > m.MaxData {
		m.Warn(fmt.Sprintf("database memcache:%s: data for key %s is too long (data_size_limit=%d) -- not stored", m.Name, key, m.MaxData))
		return nil
	}
	return m.try(func(c *conn) error {
		if _, err := fmt.Fprintf(c, "set %s %d %d %d\r\n%s\r\n", key, m.Flags, m.TTL, len(value), value); err != nil {
			return err
		}
		reply, err := m.line(c)
		if err == nil && reply != "STORED" {
			err = &replyError{"database memcache:" + m.Name + ": update failed: " + short(reply, 100, '?')}
		}
		return err
	})
}

// try makes an exchange until it succeeds, MaxTries times; only those after the
// first complain. A server that cannot be reached is tried once.
func (m *Memcache) try(f func(*conn) error) error {
	for n := 1; ; n++ {
		err := m.Pool.exchange(f)
		var dial dialError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &dial):
			m.Warn("connect to " + m.Pool.server.Address + ": " + reason(err))
			return errors.New(reason(err))
		case n > 1:
			m.complain(err)
		}
		if n >= m.MaxTries {
			return errors.New(reason(err))
		}
		var old staleError
		if errors.As(err, &old) {
			continue
		}
		if stopped := m.Pool.clock.Sleep(m.Pool.ctx, m.Pause); stopped != nil {
			return stopped
		}
	}
}

func (m *Memcache) complain(err error) {
	var reply *replyError
	if errors.As(err, &reply) {
		m.Warn(reply.text)
		return
	}
	m.Warn("database memcache:" + m.Name + ": I/O error: " + reason(err))
}

func (m *Memcache) get(c *conn, key string) (value string, found bool, err error) {
	if _, err := io.WriteString(c, "get "+key+"\r\n"); err != nil {
		return "", false, err
	}
	reply, err := m.line(c)
	if err != nil || reply == "END" {
		return "", false, err
	}
	size, ok := valueSize(reply)
	if !ok || size > m.MaxData {
		return "", false, &replyError{m.Name + ": unexpected memcache server reply: " + short(reply, 30, '?')}
	}
	b := make([]byte, size+2)
	if _, err := io.ReadFull(c.r, b); err != nil || string(b[size:]) != "\r\n" {
		return "", false, &replyError{m.Name + ": EOF receiving memcache server reply"}
	}
	if end, err := m.line(c); err != nil || end != "END" {
		return "", false, &replyError{m.Name + ": unexpected memcache server reply: " + short(end, 30, '?')}
	}
	return string(b[:size]), true, nil
}

// valueSize reads "VALUE KEY FLAGS SIZE".
func valueSize(line string) (int, bool) {
	f := strings.Fields(line)
	if len(f) < 4 || f[0] != "VALUE" {
		return 0, false
	}
	n, err := strconv.Atoi(f[3])
	return n, err == nil && n >= 0
}

func (m *Memcache) line(c *conn) (string, error) {
	s, err := c.line(m.MaxLine)
	return strings.TrimSuffix(s, "\r"), err
}
