package chp

import "bytes"

// requestWord is the first frame of a request for a snapshot.
const requestWord = "ICANHAZ?"

// IsRequest reports whether a message of these frames, without the identity of
// its sender, means to be a request for a snapshot. A socket that speaks other
// protocols too decides by it.
func IsRequest(frames [][]byte) bool { return len(frames) > 0 && string(frames[0]) == requestWord }

// ParseRequest reads a request for a snapshot and returns the subtree that it
// asks for, borrowed: only keys that begin with it are wanted. Models 2 and 3
// send no subtree, which means all. CHP's subtrees begin and end with a slash;
// any prefix is taken here. Any error is a *FormatError.
func ParseRequest(frames [][]byte) (subtree []byte, err error) {
	switch {
	case !IsRequest(frames):
		return nil, malformed(reasonRequest)
	case len(frames) > 2:
		return nil, malformed(reasonRequestFrames)
	case len(frames) == 1:
		return nil, nil
	case len(frames[1]) > keyMax:
		return nil, malformed(reasonSubtreeLong)
	case bytes.IndexByte(frames[1], 0) >= 0:
		return nil, malformed(reasonSubtreeZero)
	}
	return frames[1], nil
}

// AppendRequest appends the frames of a request to dst. They borrow subtree.
func AppendRequest(dst [][]byte, subtree []byte) [][]byte {
	return append(dst, []byte(requestWord), subtree)
}
