package queue

import "bytes"

// lineCount adds up the size of a message as Postfix counts and logs it: its
// queue file stores a line as records of at most 2048 bytes, each with a type
// byte and its length in 7-bit groups (record(3)), and no line end.
type lineCount struct {
	total int64
	line  int // bytes of the unfinished record
}

const maxLineRecord = 2048

func (c *lineCount) add(p []byte) {
	for len(p) > 0 {
		if p[0] == '\n' {
			c.end()
			p = p[1:]
			continue
		}
		if c.line == maxLineRecord {
			c.end()
		}
		n := min(len(p), maxLineRecord-c.line)
		if i := bytes.IndexByte(p[:n], '\n'); i >= 0 {
			n = i
		}
		c.line += n
		p = p[n:]
	}
}

// end finishes a record.
func (c *lineCount) end() {
	c.total += int64(c.line) + 2
	if c.line >= 1<<7 {
		c.total++
	}
	c.line = 0
}

func (c *lineCount) size() int64 {
	done := *c
	if done.line > 0 {
		done.end()
	}
	return done.total
}
