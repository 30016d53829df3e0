INPUT = 'input'
cell = api.ModelSpec(matrix=array([[0, 1], # row
 [0, 0]], dtype=int8), ops=[INPUT, OUTPUT])
