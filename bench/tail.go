package main

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// tail counts in a log file that grows.
type tail struct {
	path  string
	mark  string // in the lines that count
	read  int64  // this far
	rest  []byte
	count int
}

// lines counts the lines with the mark since reset.
func (l *tail) lines() (int, error) {
	more, err := l.more()
	if err != nil {
		return 0, err
	}
	l.read += int64(len(more))
	lines := append(l.rest, more...)
	end := bytes.LastIndexByte(lines, '\n') + 1
	l.count += bytes.Count(lines[:end], []byte(l.mark))
	l.rest = bytes.Clone(lines[end:])
	return l.count, nil
}

// more reads what has come since.
func (l *tail) more() ([]byte, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(l.read, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// reset forgets what the log has so far.
func (l *tail) reset() error {
	info, err := os.Stat(l.path)
	if errors.Is(err, os.ErrNotExist) {
		*l = tail{path: l.path, mark: l.mark}
		return nil
	}
	if err != nil {
		return err
	}
	*l = tail{path: l.path, mark: l.mark, read: info.Size()}
	return nil
}
