import x
# old
A = gt.Genotype(normal=[('sep_conv_3x3', 2, 0), ('skip_connect', 3, 2)], normal_concat=list(range(2, 4)), reduce=[('sep_conv_3x3', 2, 0), ('skip_connect', 3, 2)], reduce_concat=(3,))
