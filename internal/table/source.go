package table

import (
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// recheck is how often a table's file is looked at for changes, at the most.
const recheck = time.Second

// reloading is a table made from a text file; it is made again when the file
// has changed. A file that has become unreadable or wrong leaves the old table
// in place and is reported once.
type reloading struct {
	path  string
	parse func(content string) (lookuper, error)
	o     Options

	current   atomic.Pointer[loaded]
	mu        sync.Mutex
	complaint string // what was said last of the file

	checked atomic.Int64 // when the file was last looked at, unix nanoseconds
}

type lookuper interface {
	Lookup(key string) (string, bool, error)
}

type loaded struct {
	table lookuper
	stamp stamp
}

// stamp tells one state of a file from another.
type stamp struct {
	size  int64
	mtime time.Time
}

func stampOf(fi fs.FileInfo) stamp { return stamp{fi.Size(), fi.ModTime()} }

func openReloading(path string, o Options, parse func(string) (lookuper, error)) (*reloading, error) {
	r := &reloading{path: path, parse: parse, o: o}
	l, err := r.load()
	if err != nil {
		return nil, err
	}
	r.current.Store(l)
	r.checked.Store(o.Clock.Now().UnixNano())
	return r, nil
}

func (r *reloading) load() (*loaded, error) {
	f, err := os.Open(r.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	t, err := r.parse(string(b))
	if err != nil {
		return nil, err
	}
	return &loaded{t, stampOf(fi)}, nil
}

func (r *reloading) Lookup(key string) (string, bool, error) {
	now := r.o.Clock.Now().UnixNano()
	if last := r.checked.Load(); now-last > int64(recheck) && r.checked.CompareAndSwap(last, now) {
		r.refresh()
	}
	return r.current.Load().table.Lookup(key)
}

func (r *reloading) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.current.Load()
	fi, err := os.Stat(r.path)
	if err == nil && stampOf(fi) == old.stamp {
		return
	}
	l, err := r.load()
	if err != nil {
		r.complain(err)
		return
	}
	r.current.Store(l)
	r.complaint = ""
}

// complain says what is wrong with the changed file, once: the log is not to
// fill up with it while nobody mends it.
func (r *reloading) complain(err error) {
	text := err.Error()
	if text == r.complaint {
		return
	}
	r.complaint = text
	for line := range strings.Lines(text) {
		r.o.Log.Warn("table " + r.path + " has changed and can't be used; the former contents stay: " + strings.TrimSuffix(line, "\n"))
	}
}

func (r *reloading) Close() error { return nil }
