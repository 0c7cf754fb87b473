package queue

import (
	"bytes"
	"io"
	"os"
	"sync"
)

// maxMemory bounds the content that is kept in memory: of drafts beyond their
// first buffer, and of messages in the log that were not tried yet. When it is
// used up drafts go to files and messages are read from the log.
const maxMemory = 64 << 20

// reserve takes n bytes of the memory for content, if it is there.
func (q *Queue) reserve(n int64) bool {
	if q.memory.Add(n) <= maxMemory {
		return true
	}
	q.memory.Add(-n)
	return false
}

func (q *Queue) unreserve(n int64) { q.memory.Add(-n) }

// buffer returns an empty buffer for a draft.
func (q *Queue) buffer() *[]byte {
	if b, ok := q.buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, firstBuffer)
	return &b
}

// putBuffer takes a draft's buffer back.
func (q *Queue) putBuffer(b *[]byte) {
	if grown := cap(*b) - firstBuffer; grown > 0 {
		q.unreserve(int64(grown))
		return
	}
	*b = (*b)[:0]
	q.buffers.Put(b)
}

// keepBuffer makes content of a draft's buffer, if there is memory for it.
func (q *Queue) keepBuffer(b *[]byte) *kept {
	if !q.reserve(firstBuffer) {
		return nil
	}
	return &kept{q: q, buf: b, users: 1}
}

// kept is the content of a message that was not tried yet. Its buffer goes back
// when neither the queue nor a reader uses it any more.
type kept struct {
	q   *Queue
	buf *[]byte

	mu    sync.Mutex
	users int
}

// open returns a reader. The queue must not have dropped k.
func (k *kept) open() io.ReadCloser {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users++
	return &keptReader{r: bytes.NewReader(*k.buf), k: k}
}

// drop ends one use.
func (k *kept) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.users--; k.users == 0 {
		k.q.unreserve(firstBuffer)
		k.q.putBuffer(k.buf)
	}
}

// keptReader reads content in memory.
type keptReader struct {
	mu sync.Mutex
	r  *bytes.Reader
	k  *kept // nil after Close
}

// Read reads on. After Close the buffer may be another message's.
func (r *keptReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.k == nil {
		return 0, os.ErrClosed
	}
	return r.r.Read(p)
}

// Close ends reading.
func (r *keptReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.k != nil {
		r.k.drop()
		r.k = nil
	}
	return nil
}
