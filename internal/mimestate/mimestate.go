// Package mimestate walks through a message line by line and tells headers
// from body: the message's own headers, those of MIME parts, those of attached
// messages. It looks at lines as they come and keeps no more than one header,
// so that a message of any size can pass.
//
// It decodes nothing and changes nothing but this: white space between a
// header's name and its colon goes, a header ends at a NUL byte and at about
// the header limit, and a blank line is put before a body that follows the
// message's headers without one. With Options.Downgrade, 8-bit parts become
// quoted-printable. RFC 2045, RFC 2046; Postfix's mime_state(3).
package mimestate

import "strings"

// Class is where a header stands.
type Class uint8

const (
	Primary   Class = iota // the message's own headers
	Multipart              // after a boundary
	Nested                 // at the beginning of a message/rfc822
	body                   // no header at all
)

// Errors is a set of things that are wrong with a message.
type Errors uint8

const (
	TooDeep        Errors = 1 << iota // more multiparts in each other than the limit
	EightBitHeader                    // bytes above 127 in a header
	EightBitBody                      // bytes above 127 in a part that is 7bit by its headers
	BadEncoding                       // a multipart or message in an encoding other than 7bit, 8bit, binary
)

// String returns the text for the most serious error.
func (e Errors) String() string {
	switch {
	case e&TooDeep != 0:
		return "MIME nesting exceeds safety limit"
	case e&EightBitHeader != 0:
		return "improper use of 8-bit data in message header"
	case e&EightBitBody != 0:
		return "improper use of 8-bit data in message body"
	case e&BadEncoding != 0:
		return "invalid message/* or multipart/* encoding domain"
	}
	return ""
}

// Options say what to look for.
type Options struct {
	Plain  bool   // no MIME: all after the message's headers is body
	Report Errors // what to report; the others pass
	// Downgrade: parts that are 8bit or binary by their headers are put out as
	// quoted-printable, for servers without 8BITMIME (RFC 6152 section 3).
	Downgrade bool

	HeaderLimit   int // bytes; a header longer than this takes no more lines
	BoundaryLimit int // bytes of a boundary that count
	NestingLimit  int // multiparts in each other
}

// Output takes what the walk finds, in order.
type Output struct {
	// Header takes one header with its continuation lines, separated by LF.
	Header func(class Class, header string)
	// HeadersEnd is called once, after the message's own headers.
	HeadersEnd func()
	// Body takes one line of a body, boundaries included. more: the line goes
	// on with the next call. offset is its place in the body of this part, in
	// bytes. The line is valid only during the call.
	Body func(line []byte, more bool, offset int64)
	// Error is told of each kind of trouble once.
	Error func(e Errors, text string)
}

// Walker is one walk. It belongs to one goroutine.
type Walker struct {
	o   Options
	out Output

	state  Class
	part   part
	stack  []level // the multiparts around this line, innermost last
	header []byte  // the header being collected
	open   bool    // the last line is not finished
	offset int64   // in the current body
	errors Errors
	quoted []byte // the encoded line being collected
}

// part is what the headers of a part have said so far.
type part struct {
	major, minor string // content type, as far as it matters here
	encoding     string
	domain       string // 7bit, 8bit or binary: what the encoding contains
}

// level is one multipart with its boundary.
type level struct {
	boundary string
	inner    part // what its parts are by default
}

var plainText = part{major: "text", minor: "plain", encoding: "7bit", domain: "7bit"}

// New begins a walk.
func New(o Options, out Output) *Walker {
	return &Walker{o: o, out: out, part: plainText}
}

// Line takes the next line without its line ending. more says that it goes on
// with the next call.
func (w *Walker) Line(text []byte, more bool) {
	if w.state != body {
		if w.collect(text, more) {
			return
		}
		w.endHeaders(text)
	}
	w.bodyLine(text, more)
	w.open = more
}

// End ends the message and returns what was wrong with it.
func (w *Walker) End() Errors {
	if w.open {
		w.Line(nil, false)
	}
	if w.state != body {
		w.flushHeader()
		w.leaveHeaders()
		w.enter(body)
	}
	return w.errors
}

// collect adds text to the header being collected, or begins one with it; it
// reports whether text belonged to the headers.
func (w *Walker) collect(text []byte, more bool) bool {
	if len(w.header) > 0 {
		if w.open || startsBlank(text) {
			w.extend(text)
			w.open = more
			return true
		}
		w.flushHeader()
	}
	n := HeaderName(text)
	if n == 0 {
		return false
	}
	w.header = append(w.header[:0], text[:n]...)
	w.header = append(w.header, cString(trimBlanks(text[n:]))...)
	w.open = more
	return true
}

func (w *Walker) extend(text []byte) {
	if len(w.header) >= w.o.HeaderLimit {
		return
	}
	if !w.open {
		w.header = append(w.header, '\n')
	}
	w.header = append(w.header, cString(text)...)
}

// cString cuts text at its first NUL byte: a header cannot contain one.
func cString(text []byte) []byte {
	for i, c := range text {
		if c == 0 {
			return text[:i]
		}
	}
	return text
}

func startsBlank(text []byte) bool { return len(text) > 0 && (text[0] == ' ' || text[0] == '\t') }

func trimBlanks(text []byte) []byte {
	for startsBlank(text) {
		text = text[1:]
	}
	return text
}

// HeaderName returns the length of the header's name if text begins with one,
// white space and a colon; 0 if it is no header.
func HeaderName(text []byte) int {
	n, blank := 0, false
	for _, c := range text {
		switch {
		case c == ':':
			return n
		case c == ' ' || c == '\t':
			if n == 0 {
				return 0
			}
			blank = true
		case c < ' ' || c >= 127 || blank:
			return 0
		default:
			n++
		}
	}
	return 0
}

func (w *Walker) flushHeader() {
	if len(w.header) == 0 {
		return
	}
	h := string(w.header)
	w.header = w.header[:0]
	if !w.o.Plain {
		w.heed(h)
	}
	if w.o.Report&EightBitHeader != 0 && eightBit(h) {
		w.report(EightBitHeader, h)
	}
	if name, _, _ := strings.Cut(h, ":"); !w.converts() || !strings.EqualFold(name, "Content-Transfer-Encoding") {
		w.out.Header(w.state, h)
	}
	w.open = false
}

// heed takes from a header what it says about the structure.
func (w *Walker) heed(h string) {
	name, value, _ := strings.Cut(h, ":")
	switch {
	case strings.EqualFold(name, "Content-Type"):
		w.contentType(h, value)
	case strings.EqualFold(name, "Content-Transfer-Encoding"):
		w.contentEncoding(value)
	}
}

// leaveHeaders does what is due at the end of a block of headers.
func (w *Walker) leaveHeaders() {
	if w.converts() {
		w.out.Header(w.state, w.newEncoding())
	}
	if w.state == Primary {
		w.out.HeadersEnd()
	}
	if w.o.Report&BadEncoding != 0 && w.part.misencoded() {
		w.report(BadEncoding, w.part.encoding)
	}
}

// misencoded reports whether a composite part has an encoding that hides what
// it is made of.
func (p part) misencoded() bool {
	switch {
	case p.major == "message" && (p.minor == "partial" || p.minor == "external-body"):
		return p.domain != "7bit"
	case p.major == "message" && p.minor == "rfc822", p.major == "multipart":
		return p.encoding != p.domain
	}
	return false
}

// endHeaders goes from headers to what follows: text is the first line that is
// no header.
func (w *Walker) endHeaders(text []byte) {
	w.leaveHeaders()
	switch {
	case len(text) > 0:
		if w.state == Primary {
			w.emit(nil, false)
		}
		w.enter(body)
	case w.part.major == "message" && (w.part.minor == "rfc822" || w.part.minor == "global" && !w.converts()):
		w.offset = 0
		w.state, w.part = Nested, plainText
	case w.part.major == "multipart":
		w.enter(body)
		w.part = part{encoding: "7bit", domain: "7bit"}
	default:
		w.enter(body)
	}
}

func (w *Walker) enter(c Class) {
	w.state = c
	if c == body {
		w.offset = 0
	}
}

// bodyLine puts out a line of a body; a boundary changes the state after it.
func (w *Walker) bodyLine(text []byte, more bool) {
	if w.o.Report&EightBitBody != 0 && w.part.encoding == "7bit" && eightBit(string(text)) {
		w.report(EightBitBody, string(text))
	}
	if !w.open {
		w.boundary(text)
	}
	if w.converts() {
		w.quote(text, more)
		return
	}
	w.emit(text, more)
}

func (w *Walker) emit(text []byte, more bool) {
	w.out.Body(text, more, w.offset)
	w.offset += int64(len(text)) + 1
}

// boundary looks whether text is a boundary of one of the multiparts around
// it. That of an outer one ends the inner ones; what follows the boundary on
// its line does not count, except the "--" of the last.
func (w *Walker) boundary(text []byte) {
	if len(text) <= 2 || text[0] != '-' || text[1] != '-' {
		return
	}
	line := text[2:]
	for i := len(w.stack) - 1; i >= 0; i-- {
		l := w.stack[i]
		if len(line) < len(l.boundary) || string(line[:len(l.boundary)]) != l.boundary {
			continue
		}
		w.stack = w.stack[:i+1]
		if rest := line[len(l.boundary):]; len(rest) >= 2 && rest[0] == '-' && rest[1] == '-' {
			w.stack = w.stack[:i]
			w.enter(body)
			w.part = part{encoding: "7bit", domain: "7bit"}
		} else {
			w.state, w.part = Multipart, l.inner
		}
		return
	}
}

func (w *Walker) report(e Errors, text string) {
	if w.errors&e == 0 {
		w.errors |= e
		w.out.Error(e, text)
	}
}

func eightBit(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 128 {
			return true
		}
	}
	return false
}
