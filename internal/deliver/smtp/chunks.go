package smtp

import (
	"errors"
	"fmt"
)

// chunkBytes is how much of a message goes into one BDAT.
const chunkBytes = 256 << 10

// chunked reports whether the message goes out by BDAT (RFC 3030): the host
// offers it, and sekisho_smtp_chunking allows it. An address probe needs DATA.
func (t *dialogue) chunked() bool { return t.d.a.Chunking && t.features.chunking && !t.d.r.Probe }

// errChunk: the host has refused a part of the message.
var errChunk = errors.New("a part of the message was refused")

// chunkWriter sends what is written to it as chunks. The reply to a chunk is
// read before the next one, so that neither side waits for the other with full
// buffers.
type chunkWriter struct {
	t       *dialogue
	pending bool  // a chunk was sent and not answered
	refused reply // the answer that ended it
}

// Write sends one chunk.
func (c *chunkWriter) Write(p []byte) (int, error) {
	if err := c.answer(); err != nil {
		return 0, err
	}
	if err := c.send(p, ""); err != nil {
		return 0, err
	}
	c.pending = true
	return len(p), nil
}

func (c *chunkWriter) send(p []byte, last string) error {
	fmt.Fprintf(c.t.w, "BDAT %d%s\r\n", len(p), last)
	if _, err := c.t.w.Write(p); err != nil {
		return err
	}
	return c.t.w.Flush()
}

// answer takes the reply to the chunk before.
func (c *chunkWriter) answer() error {
	if !c.pending {
		return nil
	}
	c.pending = false
	c.t.begin(c.t.d.a.DataXferTimeout)
	r, err := c.t.read()
	if err == nil && r.class() != 2 {
		c.refused, err = r, errChunk
	}
	c.t.sock.start(c.t.d.a.DataXferTimeout, c.t.d.a.MinDataRate)
	return err
}

// last sends the end of the message; the reply to it is the one that counts.
func (c *chunkWriter) last() error {
	if err := c.answer(); err != nil {
		return err
	}
	return c.send(nil, " LAST")
}
