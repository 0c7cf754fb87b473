package wire

import (
	"bytes"
	"io"
)

// Line is one line of input without its ending.
type Line struct {
	Text     []byte // valid until the next read
	Complete bool   // the end of the line was seen; else it was cut at the limit
	BareLF   bool   // it ended in LF without CR before it
}

// ReadLine reads a line of at most limit bytes, its ending included; a longer
// one comes in pieces. limit must be positive. A line cut off by the end of input is io.EOF.
func (c *Conn) ReadLine(limit int) (Line, error) {
	c.start()
	c.long = c.long[:0]
	for {
		if err := c.need(); err != nil {
			return Line{}, err
		}
		piece := c.in[c.r:min(c.w, c.r+limit-len(c.long))]
		end := bytes.IndexByte(piece, '\n')
		if end >= 0 {
			piece = piece[:end+1]
		}
		c.r += len(piece)
		if end >= 0 && len(c.long) == 0 {
			return c.whole(piece), nil
		}
		c.long = append(c.long, piece...)
		if end >= 0 {
			return c.whole(c.long), nil
		}
		if len(c.long) == limit {
			return c.cut()
		}
	}
}

// cut ends a line at the limit; but not between CR and LF.
func (c *Conn) cut() (Line, error) {
	if c.long[len(c.long)-1] != '\r' {
		return Line{Text: c.long}, nil
	}
	if err := c.need(); err != nil {
		return Line{}, err
	}
	if c.in[c.r] != '\n' {
		return Line{Text: c.long}, nil
	}
	c.r++
	c.long = append(c.long, '\n')
	return c.whole(c.long), nil
}

func (c *Conn) whole(b []byte) Line {
	text, bare := TrimEnd(b, c.strict)
	return Line{Text: text, Complete: true, BareLF: bare}
}

// TrimEnd strips the ending off a line that has one, as SetStrict says. bare
// reports whether there was no CR before the LF.
func TrimEnd(b []byte, strict bool) (text []byte, bare bool) {
	b = b[:len(b)-1]
	bare = len(b) == 0 || b[len(b)-1] != '\r'
	for len(b) > 0 && b[len(b)-1] == '\r' {
		b = b[:len(b)-1]
		if strict {
			break
		}
	}
	return b, bare
}

// ReadCommand reads a line as ReadLine does; what is beyond the limit is
// skipped, up to and with the end of the line.
func (c *Conn) ReadCommand(limit int) (Line, error) {
	l, err := c.ReadLine(limit)
	if err != nil || l.Complete {
		return l, err
	}
	l.Text = bytes.Clone(l.Text)
	for {
		if err := c.need(); err != nil {
			return Line{}, err
		}
		end := bytes.IndexByte(c.in[c.r:c.w], '\n')
		if end >= 0 {
			c.r += end + 1
			return l, nil
		}
		c.r = c.w
	}
}

// ReadChunk returns up to max bytes of input as they are, at least one; they
// are valid until the next read.
func (c *Conn) ReadChunk(max int) ([]byte, error) {
	c.start()
	if err := c.need(); err != nil {
		return nil, err
	}
	b := c.in[c.r:min(c.w, c.r+max)]
	c.r += len(b)
	return b, nil
}

// Discard skips n bytes of input.
func (c *Conn) Discard(n int64) error {
	for n > 0 {
		b, err := c.ReadChunk(int(min(n, readSize)))
		if err != nil {
			return err
		}
		n -= int64(len(b))
	}
	return nil
}

// Data reads the content that follows a DATA command (RFC 5321 section 4.5.2).
type Data struct {
	conn     *Conn
	limit    int
	cont     bool // the last piece did not end its line
	prevBare bool
	bare     bool
}

// NewData returns a reader of content from c. Lines longer than limit come in
// pieces. With SetStrict only CRLF.CRLF ends the content, and a lone dot next to
// a bare LF is dropped; else bare LFs will do.
func NewData(c *Conn, limit int) *Data { return &Data{conn: c, limit: limit} }

// BareLF reports whether any line so far ended in a bare LF.
func (d *Data) BareLF() bool { return d.bare }

// Next returns the next line, or piece of one, with the dot taken off that
// transparency put there. io.EOF is the regular end; a connection that ended
// before is io.ErrUnexpectedEOF.
func (d *Data) Next() (Line, error) {
	for {
		l, err := d.conn.ReadLine(d.limit)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return Line{}, err
		}
		first, prevBare := !d.cont, d.prevBare
		d.cont, d.prevBare = !l.Complete, l.BareLF
		d.bare = d.bare || l.BareLF
		if !first || len(l.Text) == 0 || l.Text[0] != '.' {
			return l, nil
		}
		l.Text = l.Text[1:]
		switch {
		case len(l.Text) > 0 || !l.Complete:
			return l, nil
		case !d.conn.strict || !l.BareLF && !prevBare:
			return Line{}, io.EOF
		}
	}
}
