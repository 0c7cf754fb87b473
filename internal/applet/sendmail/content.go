package sendmail

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"sekisho/internal/mimestate"
)

// inMemory is how much of a message is kept in memory; the rest goes to a
// file. All of it is read before the server hears of it: what writes it may take
// its time.
const inMemory = 256 << 10

// content reads a message from standard input.
type content struct {
	in       *bufio.Reader
	dotEnds  bool   // a line with nothing but a dot is the end
	endings  string // sendmail_fix_line_endings
	size     int64
	kept     bytes.Buffer
	file     *os.File
	overflow *bufio.Writer // to file

	head       []byte // the header as far as it is known to be one
	inHeader   bool
	header8bit bool
}

func newContent(in io.Reader, dotEnds bool, endings string) *content {
	return &content{in: bufio.NewReader(in), dotEnds: dotEnds, endings: endings, inHeader: true}
}

func (c *content) close() {
	if c.file != nil {
		c.file.Close()
	}
}

// maxHead bounds the header in which recipients are looked for.
const maxHead = 1 << 20

// read reads up to the end: lines that an mbox begins with are dropped, line
// ends become LF, and the last line gets one.
func (c *content) read() error {
	first, begun, continued := true, false, false
	strip := c.endings == "always"
	for {
		line, err := c.in.ReadSlice('\n')
		whole := err == nil
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		if len(line) == 0 {
			if continued {
				err = c.write(nil, true)
			} else {
				err = nil
			}
			return errors.Join(err, c.flush())
		}
		if first {
			strip = strip || c.endings == "strict" && bytes.HasSuffix(line, []byte("\r\n"))
			first = false
		}
		text := bytes.TrimSuffix(line, []byte("\n"))
		if whole && strip {
			text = bytes.TrimSuffix(text, []byte("\r"))
		}
		ends := whole || err == io.EOF
		fresh := !continued
		continued = !ends
		switch {
		case !begun && fresh && bytes.HasPrefix(bytes.TrimLeft(text, ">"), []byte("From ")):
			continue
		case c.dotEnds && fresh && ends && string(text) == ".":
			return c.flush()
		}
		begun = true
		if err := c.write(text, ends); err != nil {
			return err
		}
	}
}

// write takes a piece of a line.
func (c *content) write(text []byte, ends bool) error {
	c.look(text, ends)
	if ends {
		text = append(text[:len(text):len(text)], '\n')
	}
	c.size += int64(len(text))
	if c.file == nil && c.kept.Len()+len(text) <= inMemory {
		c.kept.Write(text)
		return nil
	}
	if c.file == nil {
		f, err := os.CreateTemp("", "sendmail")
		if err != nil {
			return err
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			return err
		}
		c.file, c.overflow = f, bufio.NewWriter(f)
	}
	_, err := c.overflow.Write(text)
	return err
}

// look keeps the header.
func (c *content) look(text []byte, ends bool) {
	if !c.inHeader {
		return
	}
	continues := len(c.head) > 0 && c.head[len(c.head)-1] != '\n'
	folded := len(c.head) > 0 && len(text) > 0 && (text[0] == ' ' || text[0] == '\t')
	if !continues && !folded && mimestate.HeaderName(text) == 0 || len(c.head) > maxHead {
		c.inHeader = false
		return
	}
	c.header8bit = c.header8bit || !ascii(string(text))
	c.head = append(c.head, text...)
	if ends {
		c.head = append(c.head, '\n')
	}
}

func (c *content) flush() error {
	if c.overflow == nil {
		return nil
	}
	return c.overflow.Flush()
}

// open returns all that was read.
func (c *content) open() (io.Reader, error) {
	if c.file == nil {
		return bytes.NewReader(c.kept.Bytes()), nil
	}
	if _, err := c.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.MultiReader(bytes.NewReader(c.kept.Bytes()), c.file), nil
}

// recipients returns the values of the headers that name recipients: the Resent
// ones if there are any.
func (c *content) recipients() []string {
	var plain, resent []string
	lines := strings.SplitAfter(string(c.head), "\n")
	for i := 0; i < len(lines); {
		header := lines[i]
		for i++; i < len(lines) && (strings.HasPrefix(lines[i], " ") || strings.HasPrefix(lines[i], "\t")); i++ {
			header += lines[i]
		}
		n := mimestate.HeaderName([]byte(header))
		_, value, _ := strings.Cut(header[n:], ":")
		switch strings.ToLower(header[:n]) {
		case "to", "cc", "bcc", "apparently-to":
			plain = append(plain, value)
		case "resent-to", "resent-cc", "resent-bcc":
			resent = append(resent, value)
		}
	}
	if len(resent) > 0 {
		return resent
	}
	return plain
}
