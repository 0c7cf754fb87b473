package verify

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sekisho/internal/safefile"
)

// Cache is what is known about addresses. It is safe for concurrent use.
//
// On disk it is a log, one line a change:
//
//	CRC32 "ADDRESS" STATUS:PROBED:UPDATED:TEXT
//
// with nothing after the address for one that is forgotten. Lines are appended
// without a sync: a crash of the machine forgets the last seconds, after which
// addresses are probed again. A line that was not written whole has the wrong
// checksum and is skipped. Sweep writes the file anew, by rename.
type Cache struct {
	path string // empty: in memory only
	log  *slog.Logger

	mu      sync.Mutex
	loaded  bool
	entries map[string]Entry
	file    *os.File // nil: in memory only, or the disk fails
	lines   int      // in the file
	failed  bool     // the disk fails, and it was said
	closed  bool
}

// Path returns the file of the cache that address_verify_map names, empty for
// one in memory. The file is ours: next to where Postfix would have its own, in
// another format. fallback is the type of a map that names none
// (default_database_type).
func Path(spec, fallback string) (string, error) {
	spec = strings.TrimPrefix(spec, "proxy:")
	typ, name, ok := strings.Cut(spec, ":")
	if !ok {
		typ, name = fallback, spec
	}
	switch {
	case spec == "" || typ == "internal":
		return "", nil
	case slices.Contains([]string{"btree", "hash", "lmdb", "cdb", "dbm", "sdbm", "texthash"}, typ) && strings.HasPrefix(name, "/"):
		return name + ".sekisho", nil
	}
	return "", fmt.Errorf("the cache of address verification cannot be in %q; use btree:/path, or nothing for memory", spec)
}

// NewCache returns the cache in a file, which need not exist yet; with an empty
// path the cache is in memory only. The file is read when somebody asks for the
// first time. Only one process may use it.
//
// A cache that cannot be read or written is no reason to fail: it works from
// memory then, and log says why.
func NewCache(path string, log *slog.Logger) *Cache {
	return &Cache{path: path, log: log, entries: make(map[string]Entry)}
}

// lock locks the cache and reads its file if that has not been done.
func (c *Cache) lock() {
	c.mu.Lock()
	if !c.loaded && !c.closed {
		c.loaded = true
		c.load()
	}
}

func (c *Cache) load() {
	if c.path == "" {
		return
	}
	entries, damaged, err := Read(c.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.fail(err)
		return
	}
	if damaged > 0 {
		c.log.Warn(fmt.Sprintf("%s: %d damaged lines skipped", c.path, damaged))
	}
	if entries != nil {
		c.entries = entries
	}
	c.rewrite()
}

// Read returns what a cache's file has, without opening it for writing, and how
// many of its lines make no sense.
func Read(path string) (entries map[string]Entry, damaged int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	entries = make(map[string]Entry)
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			if line != "" {
				damaged++
			}
			return entries, damaged, nil
		}
		if err != nil {
			return entries, damaged, err
		}
		addr, e, known, ok := parseLine(strings.TrimSuffix(line, "\n"))
		switch {
		case !ok:
			damaged++
		case known:
			entries[addr] = e
		default:
			delete(entries, addr)
		}
	}
}

// appendLine adds one line of the file; value is empty for a forgotten address.
func appendLine(b []byte, addr, value string) []byte {
	begin := len(b)
	b = append(b, "00000000 "...)
	text := len(b)
	b = append(strconv.AppendQuote(b, addr), ' ')
	b = append(b, value...)
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE(b[text:]))
	hex.Encode(b[begin:], sum[:])
	return append(b, '\n')
}

func parseLine(line string) (addr string, e Entry, known, ok bool) {
	hexSum, text, _ := strings.Cut(line, " ")
	sum, err := strconv.ParseUint(hexSum, 16, 32)
	if err != nil || len(hexSum) != 8 || uint32(sum) != crc32.ChecksumIEEE([]byte(text)) {
		return "", e, false, false
	}
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", e, false, false
	}
	value, ok := strings.CutPrefix(text[len(quoted):], " ")
	if addr, err = strconv.Unquote(quoted); err != nil || !ok {
		return "", e, false, false
	}
	if value == "" {
		return addr, e, false, true
	}
	e, ok = parseEntry(value)
	return addr, e, true, ok
}

func (c *Cache) put(addr string, e Entry) {
	c.entries[addr] = e
	c.append(addr, e.String())
}

func (c *Cache) forget(addr string) {
	delete(c.entries, addr)
	c.append(addr, "")
}

func (c *Cache) append(addr, value string) {
	if c.file == nil {
		return
	}
	if _, err := c.file.Write(appendLine(nil, addr, value)); err != nil {
		c.fail(err)
		return
	}
	if c.lines++; c.lines > 2*len(c.entries)+slack {
		c.rewrite()
	}
}

// slack is how many outdated lines the file may have beyond as many as there are
// addresses, before it is written anew.
const slack = 10_000

// fail goes on in memory.
func (c *Cache) fail(err error) {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
	if !c.failed {
		c.log.Warn(fmt.Sprintf("cannot keep the address verification cache in %s: %v; a restart will forget what is learned from now on", c.path, err))
	}
	c.failed = true
}

// sweep forgets what is not worth keeping and writes the file anew.
func (c *Cache) sweep(keep func(Entry) bool) (retained, dropped int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.loaded {
		return 0, 0
	}
	for addr, e := range c.entries {
		if !keep(e) {
			delete(c.entries, addr)
			dropped++
		}
	}
	c.rewrite()
	return len(c.entries), dropped
}

// rewrite makes the file what is in memory, and appends from there.
func (c *Cache) rewrite() {
	if c.path == "" {
		return
	}
	var b []byte
	for addr, e := range c.entries {
		b = appendLine(b, addr, e.String())
	}
	err := safefile.Write(c.path, b, 0o600)
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(c.path, os.O_APPEND|os.O_WRONLY, 0)
	}
	if err != nil {
		c.fail(err)
		return
	}
	if c.file != nil {
		c.file.Close()
	}
	c.file, c.failed, c.lines = f, false, len(c.entries)
}

// Close ends writing. What is learned afterwards stays in memory.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.file == nil {
		return nil
	}
	f := c.file
	c.file = nil
	return f.Close()
}
