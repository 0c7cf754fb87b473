package smtp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/mimestate"
	"sekisho/internal/tok822"
)

// Checks are tables that are asked about headers and lines of the message on
// its way out: smtp_header_checks, smtp_mime_header_checks,
// smtp_nested_header_checks, smtp_body_checks.
type Checks struct {
	Header, MIME, Nested, Body []string
}

func (c Checks) headers() bool { return len(c.Header)+len(c.MIME)+len(c.Nested) > 0 }

// filter changes the message between queue and wire, when there is something to
// change; its errors wait for the next line.
type filter struct {
	t      *dialogue
	out    *lineWriter
	walker *mimestate.Walker // nil: everything passes
	found  mimestate.Errors
	open   bool // the last line goes on
	err    error
}

// filter returns what this message needs on the way to this host
// (smtp_loop's mime_state).
func (t *dialogue) filter(out *lineWriter) *filter {
	a := t.d.a
	f := &filter{t: t, out: out}
	checks := a.Checks.headers() || len(a.Checks.Body) > 0
	downgrade := t.downgrades()
	if !downgrade && !checks && len(a.GenericMaps) == 0 {
		return f
	}
	o := mimestate.Options{
		HeaderLimit: a.HeaderLimit, BoundaryLimit: a.BoundaryLimit, NestingLimit: a.NestingLimit,
		Plain: !downgrade && !checks,
	}
	if downgrade {
		o.Downgrade, o.Report = true, mimestate.TooDeep
	}
	f.walker = mimestate.New(o, mimestate.Output{
		Header: f.header, HeadersEnd: func() {}, Body: f.body,
		Error: func(e mimestate.Errors, _ string) { f.found |= e },
	})
	return f
}

// downgrades: the host takes 7 bits only, and the message may have 8.
func (s *session) downgrades() bool {
	return !s.d.a.KeepEightBit && !s.features.eightBit && s.d.r.Envelope.Body != "7BIT"
}

// line takes a line of the message with its LF, or a part of one.
func (f *filter) line(p []byte) error {
	if f.walker == nil {
		return f.out.write(p)
	}
	if len(p) == 0 {
		return f.err
	}
	line, ended := bytes.CutSuffix(p, []byte("\n"))
	f.open = !ended
	f.walker.Line(line, f.open)
	return f.err
}

// errors are what is so wrong with the message that it is not sent.
func (f *filter) errors() mimestate.Errors { return f.found }

// end takes the end of the message.
func (f *filter) end() (mimestate.Errors, error) {
	if f.walker != nil {
		if f.open {
			f.walker.Line(nil, false)
		}
		f.walker.End()
		if f.found != 0 || f.err != nil {
			return f.found, f.err
		}
	}
	return 0, f.out.close()
}

// put writes whole lines.
func (f *filter) put(text string) {
	if f.err == nil {
		f.err = f.out.write([]byte(text + "\n"))
	}
}

// addressHeaders are the headers that smtp_generic_maps rewrites, in lower
// case; mimeHeaders those that smtp_mime_header_checks sees wherever they
// stand.
var (
	addressHeaders = strings.Fields("apparently-to bcc cc disposition-notification-to errors-to from mail-followup-to " +
		"reply-to resent-bcc resent-cc resent-from resent-reply-to resent-sender resent-to return-path return-receipt-to sender to")
	mimeHeaders = strings.Fields("content-description content-disposition content-id content-transfer-encoding content-type mime-version")
)

func (f *filter) header(class mimestate.Class, header string) {
	if f.err != nil {
		return
	}
	a := f.t.d.a
	name, _, _ := strings.Cut(header, ":")
	known := strings.ToLower(strings.TrimRight(name, " \t"))
	if a.Checks.headers() {
		place := class
		if slices.Contains(mimeHeaders, known) {
			place = mimestate.Multipart
		}
		tables, param := a.Checks.Header, "smtp_header_checks"
		switch place {
		case mimestate.Multipart:
			tables, param = a.Checks.MIME, "smtp_mime_header_checks"
		case mimestate.Nested:
			tables, param = a.Checks.Nested, "smtp_nested_header_checks"
		}
		var keep bool
		if header, keep = f.check("header", param, tables, header); !keep {
			return
		}
	}
	if len(a.GenericMaps) > 0 && class == mimestate.Primary && slices.Contains(addressHeaders, known) {
		header = f.generic(header)
	}
	f.put(header)
}

func (f *filter) body(line []byte, more bool, _ int64) {
	if f.err != nil {
		return
	}
	if tables := f.t.d.a.Checks.Body; len(tables) > 0 {
		text, keep := f.check("body", "smtp_body_checks", tables, string(line))
		if !keep {
			return
		}
		line = []byte(text)
	}
	if !more {
		line = append(line[:len(line):len(line)], '\n')
	}
	f.err = f.out.write(line)
}

// check asks tables about a header or a line of the body and does what they say
// (header_body_checks.c). keep is false when nothing is to be sent of it.
func (f *filter) check(where, param string, tables []string, text string) (result string, keep bool) {
	action := ""
	for _, table := range tables {
		value, found, err := f.t.d.a.World.Lookup(table, text)
		if err != nil {
			f.err = fmt.Errorf("smtp %s checks lookup error: %w: %w", where, errLocal, err)
			return text, false
		}
		if found {
			action = value
			break
		}
	}
	param = params{lmtp: f.t.d.a.LMTP}.name(param)
	word, rest, _ := strings.Cut(strings.ReplaceAll(action, "\t", " "), " ")
	rest = strings.TrimLeft(rest, " ")
	switch strings.ToUpper(word) {
	case "WARN":
		f.log("warning", where, text, rest)
	case "INFO":
		f.log("info", where, text, rest)
	case "REPLACE":
		if f.usable(where, "REPLACE", param, rest) {
			f.log("replace", where, text, rest)
			return rest, true
		}
	case "PREPEND":
		if f.usable(where, "PREPEND", param, rest) {
			f.log("prepend", where, text, rest)
			f.put(rest)
		}
	case "STRIP":
		f.log("strip", where, text, rest)
		return "", false
	case "IGNORE":
		return "", false
	case "", "DUNNO", "OK":
	default:
		f.t.d.a.Log.Warn(fmt.Sprintf("unsupported command in %s map: %s", param, action))
	}
	return text, true
}

// usable reports whether the text of REPLACE or PREPEND can stand where it is
// to.
func (f *filter) usable(where, action, param, text string) bool {
	switch {
	case text == "":
		f.t.d.a.Log.Warn(fmt.Sprintf("%s action without text in %s map", action, param))
	case where == "header" && mimestate.HeaderName([]byte(text)) == 0:
		f.t.d.a.Log.Warn(fmt.Sprintf("bad %s header text \"%s\" in %s map -- need \"headername: headervalue\"", action, text, param))
	default:
		return true
	}
	return false
}

func (f *filter) log(action, where, content, text string) {
	line := fmt.Sprintf("%s: %s: %s %.200s", f.t.d.r.QueueID, action, where, content)
	if text != "" {
		line += ": " + text
	}
	f.t.d.a.Log.Info(line)
}

// generic rewrites the addresses of a header by smtp_generic_maps.
func (f *filter) generic(header string) string {
	name, value, _ := strings.Cut(header, ":")
	list := tok822.Parse(value, 0)
	changed := false
	for _, a := range list.Addresses() {
		old := a.Internal()
		mapped, err := f.t.d.generic(old)
		if err != nil {
			f.err = err
			return header
		}
		if mapped != old {
			a.Set(mapped)
			changed = true
		}
	}
	if !changed {
		return header
	}
	text, _ := list.Header()
	return foldHeader(strings.TrimRight(name, " \t") + ": " + text)
}

// foldHeader joins the lines of a rewritten header as far as they fit, and
// indents those that remain.
func foldHeader(header string) string {
	lines := strings.Split(header, "\n")
	out, width := lines[0], len(lines[0])
	for _, l := range lines[1:] {
		if width+1+len(l) < 70 {
			out += " " + l
			width += 1 + len(l)
			continue
		}
		if !strings.HasPrefix(l, " ") && !strings.HasPrefix(l, "\t") {
			l = "\t" + l
		}
		out += "\n" + l
		width = len(l)
	}
	return out
}

// mapAddresses finds out how the envelope's addresses go over the wire.
func (d *delivery) mapAddresses() error {
	if len(d.a.GenericMaps) == 0 {
		return nil
	}
	d.addresses = make(map[string]string)
	list := []string{d.r.Envelope.Sender}
	for _, to := range d.r.Recipients {
		list = append(list, to.Address)
	}
	for _, addr := range list {
		mapped, err := d.generic(addr)
		if err != nil {
			return err
		}
		d.addresses[addr] = mapped
	}
	return nil
}

// wire is an address of the envelope as the next hop sees it.
func (d *delivery) wire(addr string) string {
	if mapped, ok := d.addresses[addr]; ok {
		return mapped
	}
	return addr
}

// generic is an address as smtp_generic_maps wants the next hop to see it
// (smtp_map11.c).
func (d *delivery) generic(addr string) (string, error) {
	a := d.a
	if len(a.GenericMaps) == 0 || addr == "" {
		return addr, nil
	}
	src := evidence.NewSession(d.ctx, a.World)
	found := a.Resolver.FindMapping(src, a.GenericMaps, addr)
	for _, w := range found.Warnings {
		a.Log.Warn(w)
	}
	if found.Failed {
		return addr, fmt.Errorf("%s map lookup problem for %s: %w", params{lmtp: a.LMTP}.name("smtp_generic_maps"), addr, errLocal)
	}
	if !found.Found {
		return addr, nil
	}
	value, ext := found.Value, found.Ext
	if strings.HasPrefix(value, "@") {
		local, _, _ := mail.SplitAddress(addr)
		value = mail.Quote(strings.TrimSuffix(local, ext) + value)
	}
	for _, to := range tok822.Parse(value, 0).Addresses() {
		return addExtension(a.Resolver.Rewrite(to.Internal()), ext, a.PropagateGeneric), nil
	}
	return addr, nil
}

func addExtension(addr, ext string, propagate bool) string {
	if ext == "" || !propagate {
		return addr
	}
	local, domain, has := mail.SplitAddress(addr)
	if has {
		return local + ext + "@" + domain
	}
	return local + ext
}
