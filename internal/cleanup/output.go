package cleanup

import "strings"

// outHeader puts out a header. Continuation lines without white space, which
// rewriting makes, get a tab. A header over header_size_limit is cut: between
// lines where that costs less than a tenth of it.
func (m *Message) outHeader(header string) {
	limit := m.c.set.headerSize
	start, first := 0, true
	for start <= len(header) {
		end := strings.IndexByte(header[start:], '\n')
		if end < 0 {
			end = len(header)
		} else {
			end += start
		}
		cut := end > limit
		if cut {
			if start*10 > limit*9 {
				return
			}
			end = max(start, limit)
		}
		line := header[start:end]
		if !first && !startsBlank(line) {
			line = "\t" + line
		}
		m.outText(line)
		if cut {
			return
		}
		start, first = end+1, false
	}
}

func startsBlank(s string) bool { return s != "" && (s[0] == ' ' || s[0] == '\t') }

func (m *Message) outText(line string) { m.out([]byte(line), false) }

// out puts a line, or with more a part of one, into the queue file.
func (m *Message) out(line []byte, more bool) {
	if !m.ok() {
		return
	}
	m.size += recordsSize(len(line), m.c.set.lineLength)
	if limit := m.c.set.messageSize; limit > 0 && m.size > limit {
		m.warn("queue file size limit exceeded")
		m.trouble |= tooBig
		return
	}
	_, err := m.draft.Write(line)
	if err == nil && !more {
		_, err = m.draft.Write(newline)
	}
	if err != nil {
		m.warn("write queue file: %v", err)
		m.trouble |= noQueue
	}
}

var newline = []byte{'\n'}

// recordsSize is what a line takes in a queue file of Postfix: records of up
// to limit bytes, each with its type and its length in groups of seven bits.
// Sizes in log lines are sums of these.
func recordsSize(n, limit int) int64 {
	var size int64
	for n > limit {
		size += recordSize(limit)
		n -= limit
	}
	return size + recordSize(n)
}

func recordSize(n int) int64 {
	size := int64(n) + 2
	for n >>= 7; n > 0; n >>= 7 {
		size++
	}
	return size
}
