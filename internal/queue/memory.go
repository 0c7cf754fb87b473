package queue

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
