// Package columns turns the payload of a batch into columns and back, byte for
// byte: what the records have in the same place lies side by side, and numbers
// become small. A compressor makes far less of that than of whole records.
//
// It knows the record layout of package wire and nothing of any vendor's bodies.
// Records with the same kind, flags and size of body are of one shape. For each
// shape of a block the Encoder chooses fields by measuring a sample: constants,
// bytes, numbers of either byte order, and the topic where bodies repeat it.
// A number is held against the first, the one before, the last of its topic, or
// how far the record's event or receive time has moved, whichever leaves least;
// what is left is divided by its greatest common divisor, such as a tick or a
// microsecond. Text and rare shapes stay as they are. docs/TAPE.md, section
// "Columns", is the format.
//
// Data flows Encode -> compressor -> tape -> decompressor -> Decode; the package
// itself compresses nothing, but says by Cuts where a compressor should begin
// anew. What Encode writes depends on its input alone. Decode never panics,
// whatever its input, and what it uses is in proportion to its output.
package columns
