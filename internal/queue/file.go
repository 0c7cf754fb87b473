package queue

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"

	"sekisho/internal/deliver"
)

// A queue file is
//
//	header   "sekisho\x01", content length (8 bytes), CRC of the content (4),
//	         CRC of the 20 bytes before (4); zeros until Commit
//	content  header and body of the message, lines ending in LF
//	records  kind (1 byte), length (4), CRC of kind, length and payload (4),
//	         payload (JSON)
//
// with numbers in big-endian order and CRC-32C sums. The first record is the
// envelope; what becomes of the recipients is appended. A record that the file
// ends in the middle of was never acknowledged, and is cut off.

const (
	magic      = "sekisho\x01"
	headerSize = 24
	recordHead = 9
	maxRecord  = 1 << 28 // bytes; more is damage
)

// Kinds of record in a file.
const (
	recordEnvelope = 'E'
	recordUpdate   = 'U'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// update is what one appended record says. Fields that say nothing are left
// out.
type update struct {
	Results []deliver.Result `json:"results,omitempty"` // Recipient indexes the envelope
	Told    []int            `json:"told,omitempty"`    // the sender knows of these recipients' outcome
	Warned  bool             `json:"warned,omitempty"`  // the sender knows of the delay
	Expired bool             `json:"expired,omitempty"` // to be returned at the next attempt
	Until   *time.Time       `json:"until,omitempty"`   // due again at this time
	Held    *bool            `json:"held,omitempty"`
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func encodeHeader(length int64, sum uint32) []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint64(b, uint64(length))
	b = binary.BigEndian.AppendUint32(b, sum)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeHeader(b []byte) (length int64, sum uint32, err error) {
	if string(b[:8]) != magic || binary.BigEndian.Uint32(b[20:]) != crc32.Checksum(b[:20], castagnoli) {
		return 0, 0, fmt.Errorf("%w: bad header", ErrDamaged)
	}
	if length = int64(binary.BigEndian.Uint64(b[8:])); length < 0 {
		return 0, 0, fmt.Errorf("%w: bad length", ErrDamaged)
	}
	return length, binary.BigEndian.Uint32(b[16:]), nil
}

func readHeader(f *os.File) (length int64, sum uint32, err error) {
	var head [headerSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		if err == io.EOF {
			err = fmt.Errorf("%w: cut off in the header", ErrDamaged)
		}
		return 0, 0, err
	}
	return decodeHeader(head[:])
}

func encodeRecord(kind byte, value any) ([]byte, error) {
	payload, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return appendRecord(nil, kind, payload), nil
}

func appendRecord(b []byte, kind byte, payload []byte) []byte {
	start := len(b)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	sum := crc32.Update(crc32.Checksum(b[start:], castagnoli), castagnoli, payload)
	b = binary.BigEndian.AppendUint32(b, sum)
	return append(b, payload...)
}

// readRecord reads one record. The error is io.EOF at a clean end of the file.
func readRecord(r io.Reader) (kind byte, payload []byte, err error) {
	var head [recordHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("%w: cut off in a record", ErrDamaged)
		}
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxRecord {
		return 0, nil, fmt.Errorf("%w: record of %d bytes", ErrDamaged, n)
	}
	payload, err = io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return 0, nil, err
	}
	sum := crc32.Update(crc32.Checksum(head[:5], castagnoli), castagnoli, payload)
	if uint32(len(payload)) != n || binary.BigEndian.Uint32(head[5:]) != sum {
		return 0, nil, fmt.Errorf("%w: bad record", ErrDamaged)
	}
	return head[0], payload, nil
}

// content reads a message's content and finds out at its end whether it is
// what was written.
type content struct {
	f    *os.File
	r    *io.LimitedReader
	sum  uint32
	want uint32
}

func openContent(path string) (*content, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	length, sum, err := readHeader(f)
	if err == nil {
		_, err = f.Seek(headerSize, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &content{f: f, r: &io.LimitedReader{R: f, N: length}, want: sum}, nil
}

// Read reads content. A changed or shortened file is ErrDamaged, never EOF.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum = crc32.Update(c.sum, castagnoli, p[:n])
	if err == io.EOF && (c.r.N > 0 || c.sum != c.want) {
		err = fmt.Errorf("%s: %w: content", c.f.Name(), ErrDamaged)
	}
	return n, err
}

// Close closes the file.
func (c *content) Close() error { return c.f.Close() }
