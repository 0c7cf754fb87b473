// Package pcre matches Perl-compatible regular expressions as pcre_table(5)
// does: bytes, not runes, with a limit on the work that one match may cause.
// It is a thin layer over PCRE2 (a Go translation of the C library) and knows
// nothing of tables. pcre2api(3).
package pcre

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"go.elara.ws/pcre/lib"
	"modernc.org/libc"
)

// Option changes how a pattern is read.
type Option uint32

const (
	Caseless      Option = lib.DPCRE2_CASELESS
	DotAll        Option = lib.DPCRE2_DOTALL
	MultiLine     Option = lib.DPCRE2_MULTILINE
	Extended      Option = lib.DPCRE2_EXTENDED
	Anchored      Option = lib.DPCRE2_ANCHORED
	DollarEndOnly Option = lib.DPCRE2_DOLLAR_ENDONLY
	Ungreedy      Option = lib.DPCRE2_UNGREEDY
)

// matchLimit bounds backtracking in one match; PCRE2's own default is ten
// times as much.
const matchLimit = 1_000_000

// Regexp is a compiled pattern. It is safe for concurrent use.
type Regexp struct {
	code   uintptr
	groups int
	pool   sync.Pool // of *matcher
}

// matcher is what one match needs for itself.
type matcher struct {
	tls  *libc.TLS
	data uintptr
	ctx  uintptr
}

// Compile reads a pattern. The error says what is wrong at which offset.
func Compile(pattern string, opts Option) (*Regexp, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	p, err := libc.CString(pattern)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(tls, p)
	where := libc.Xmalloc(tls, 16)
	defer libc.Xfree(tls, where)
	code := lib.Xpcre2_compile_8(tls, p, lib.Tsize_t(len(pattern)), lib.Tuint32_t(opts), where, where+8, 0)
	if code == 0 {
		b := libc.GoBytes(where, 16)
		n, at := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint64(b[8:])
		return nil, fmt.Errorf("error in regex at offset %d: %s", at, message(tls, n))
	}
	re := &Regexp{code: code}
	lib.Xpcre2_pattern_info_8(tls, code, lib.DPCRE2_INFO_CAPTURECOUNT, where)
	re.groups = int(binary.NativeEndian.Uint32(libc.GoBytes(where, 4)))
	re.pool.New = func() any { return re.newMatcher() }
	runtime.AddCleanup(re, freeCode, code)
	return re, nil
}

func freeCode(code uintptr) {
	tls := libc.NewTLS()
	defer tls.Close()
	lib.Xpcre2_code_free_8(tls, code)
}

func (re *Regexp) newMatcher() *matcher {
	tls := libc.NewTLS()
	m := &matcher{tls: tls, data: lib.Xpcre2_match_data_create_from_pattern_8(tls, re.code, 0), ctx: lib.Xpcre2_match_context_create_8(tls, 0)}
	lib.Xpcre2_set_match_limit_8(tls, m.ctx, matchLimit)
	runtime.AddCleanup(m, func(f matcher) {
		lib.Xpcre2_match_data_free_8(f.tls, f.data)
		lib.Xpcre2_match_context_free_8(f.tls, f.ctx)
		f.tls.Close()
	}, *m)
	return m
}

func message(tls *libc.TLS, n int32) string {
	const size = 256
	buf := libc.Xmalloc(tls, size)
	defer libc.Xfree(tls, buf)
	if lib.Xpcre2_get_error_message_8(tls, n, buf, size) < 0 {
		return fmt.Sprintf("error %d", n)
	}
	return libc.GoString(buf)
}

// Groups returns how many groups the pattern captures.
func (re *Regexp) Groups() int { return re.groups }

// Match matches s and returns the whole match followed by the groups; groups
// that took no part are empty. An error means that the match was given up.
func (re *Regexp) Match(s string) (groups []string, ok bool, err error) {
	m := re.pool.Get().(*matcher)
	defer re.pool.Put(m)
	subject, err := libc.CString(s)
	if err != nil {
		return nil, false, err
	}
	defer libc.Xfree(m.tls, subject)
	n := lib.Xpcre2_match_8(m.tls, re.code, subject, lib.Tsize_t(len(s)), 0, 0, m.data, m.ctx)
	switch {
	case n == lib.DPCRE2_ERROR_NOMATCH:
		return nil, false, nil
	case n < 0:
		return nil, false, fmt.Errorf("matching was given up: %s", message(m.tls, n))
	}
	return re.captured(s, int(n), lib.Xpcre2_get_ovector_pointer_8(m.tls, m.data)), true, nil
}

// captured cuts the first n groups out of s; the offsets of each stand in
// PCRE2's memory as two numbers of the machine's word size.
func (re *Regexp) captured(s string, n int, ovector uintptr) []string {
	const word = 8
	groups := make([]string, re.groups+1)
	offsets := libc.GoBytes(ovector, 2*word*min(n, len(groups)))
	for i := 0; 2*word*i < len(offsets); i++ {
		pair := offsets[2*word*i:]
		from, to := binary.NativeEndian.Uint64(pair), binary.NativeEndian.Uint64(pair[word:])
		if from <= to && to <= uint64(len(s)) {
			groups[i] = strings.Clone(s[from:to])
		}
	}
	return groups
}
